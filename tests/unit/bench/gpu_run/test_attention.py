"""The attention operators compute the same, and one that does not is named."""

from dataclasses import replace

import numpy as np
import pytest

from gpu_run import attention
from gpu_run.attention_graphs import (
    GROUPED,
    GROUPED_BIASED,
    GROUPED_IN_PLACE,
    PAGED,
    STANDARD,
    AttentionShape,
    Inputs,
    build,
    expected,
)
from gpu_run.plan import DRY_RUN

SHAPE = AttentionShape(new=8, cached=16, layers=1, heads=4, key_value_heads=2, head_size=16)
PLAN = replace(DRY_RUN, new_tokens=(8,), repeats=1)


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    attention.run(PLAN, found, save=lambda: None)
    return found["operators"]


@pytest.mark.parametrize("operator", [STANDARD, GROUPED, GROUPED_IN_PLACE, GROUPED_BIASED])
def test_it_computes_what_attention_is(operator: str, found: dict[str, dict[str, dict[str, float]]]) -> None:
    assert found[operator]["8"]["error"] < 1e-5


def test_an_operator_that_the_provider_lacks_is_named(
    found: dict[str, dict[str, dict[str, object]]],
) -> None:
    assert "PagedAttention" in str(found[PAGED]["8"]["failed"])


def test_an_operator_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "expected", lambda *arguments: 1.1 * expected(*arguments))
    found: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    attention.run(PLAN, found, save=lambda: None)
    assert "it computes something else" in found["operators"][STANDARD]["8"]["failed"]


def test_a_token_sees_those_before_it_alone() -> None:
    inputs = Inputs.draw(SHAPE, np.float32)
    later = np.array(inputs.value)
    later[-1] += 1
    changed = expected(SHAPE, replace(inputs, value=later)) - expected(SHAPE, inputs)
    assert np.abs(changed[:-1]).max() == 0
    assert np.abs(changed[-1]).min() > 0


def test_pages_hold_the_past_token_by_token() -> None:
    """As PagedAttention reads them: `[pages, tokens of a page, heads, head_size]`."""
    inputs = Inputs.draw(SHAPE, np.float32)
    pages = build(PAGED, SHAPE, inputs).feeds["past.0.key"].reshape(-1, 2, 16)
    assert np.array_equal(pages[3], inputs.pasts[0][0][:, 3])
