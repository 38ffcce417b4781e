"""The table of providers."""

from typing import get_args

import pytest

from archroute_server.bundle.manifest import PrecisionName
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import AUTO, PROVIDER_NAMES, PROVIDERS, choose_provider

PRECISIONS = frozenset(get_args(PrecisionName))


def test_the_names() -> None:
    assert PROVIDER_NAMES == ("auto", "cpu", "cuda", "tensorrt", "tensorrt-rtx")


def test_every_precision_runs_somewhere_without_a_name() -> None:
    automatic = [provider for provider in PROVIDERS if provider.automatic]
    assert automatic[-1].name == "cpu"
    assert automatic[-1].precisions == PRECISIONS
    assert all(provider.precisions <= PRECISIONS for provider in PROVIDERS)


def test_engines_that_take_minutes_or_are_made_at_the_first_request_are_taken_by_name_alone() -> None:
    assert [provider.name for provider in PROVIDERS if not provider.automatic] == ["tensorrt-rtx", "tensorrt"]


@pytest.mark.parametrize("name", [name for name in PROVIDER_NAMES if name != AUTO])
def test_a_provider_by_name(name: str) -> None:
    assert choose_provider(name, "fp32").name == name


@pytest.mark.parametrize("name", ["gpu", AUTO, ""])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(
        RuntimeLoadError, match=r"there is no provider .*auto, cpu, cuda, tensorrt, tensorrt-rtx"
    ):
        choose_provider(name, "fp32")


@pytest.mark.parametrize("name", ["cuda", "tensorrt", "tensorrt-rtx"])
def test_a_precision_that_a_provider_does_not_run(name: str) -> None:
    with pytest.raises(
        RuntimeLoadError, match="precision int8: export one with --precision fp16 or fp32, or"
    ):
        choose_provider(name, "int8")
