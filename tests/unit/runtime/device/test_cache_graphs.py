"""The graphs beside the runtime are those that `make graphs` writes."""

import numpy as np
import onnxruntime as ort
import pytest

from archroute_server.runtime.device.cache_copies import GRAPHS, JOINED_AT_ONCE
from support.cache_graphs import graphs

TOKENS = np.arange(4 * 2 * 10 * 3, dtype=np.int32).reshape(4, 2, 10, 3)


@pytest.mark.parametrize("file", graphs())
def test_what_is_checked_in_is_what_the_maker_gives(file: str) -> None:
    assert (GRAPHS / file).read_bytes() == graphs()[file]


def test_there_are_no_others() -> None:
    assert {path.name for path in GRAPHS.iterdir()} == set(graphs())


def test_tokens_are_cut_out() -> None:
    session = ort.InferenceSession(GRAPHS / "slice.onnx", providers=["CPUExecutionProvider"])
    bounds = {"start": np.array([3]), "stop": np.array([9])}
    [copy] = session.run(None, {"tokens": TOKENS, **bounds})
    np.testing.assert_array_equal(copy, TOKENS[:, :, 3:9])


def test_tokens_are_joined_and_empty_parts_add_none() -> None:
    session = ort.InferenceSession(GRAPHS / "concatenate.onnx", providers=["CPUExecutionProvider"])
    parts = [TOKENS[:, :, :0], TOKENS[:, :, :7], *[TOKENS[:, :, :0]] * 5, TOKENS[:, :, 7:]]
    assert len(parts) == JOINED_AT_ONCE
    [copy] = session.run(None, {f"part.{place}": part for place, part in enumerate(parts)})
    np.testing.assert_array_equal(copy, TOKENS)
