"""What `auto` takes, and what it says of what it could not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from archroute_server.runtime import provider_choice
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.provider_choice import Loaded, load_on_provider
from archroute_server.runtime.providers import PROVIDERS, Provider, choose_provider

CUDA, CPU = choose_provider("cuda", "fp16"), choose_provider("cpu", "fp16")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    names = {"cuda", "cpu", "tensorrt", "tensorrt-rtx"}
    monkeypatch.setattr(provider_choice, "is_installed", lambda provider: provider.name in names)
    return names


def loader(*broken: str) -> Callable[[Provider], str]:
    def load(provider: Provider) -> str:
        if provider.name in broken:
            raise RuntimeLoadError(f"no driver for {provider.name}")
        return f"session on {provider.name}"

    return load


@pytest.mark.usefixtures("installed")
def test_the_best_that_works() -> None:
    assert load_on_provider("auto", "fp16", loader()) == Loaded("session on cuda", CUDA)


@pytest.mark.usefixtures("installed")
def test_what_does_not_load_is_named_with_its_reason() -> None:
    loaded = load_on_provider("auto", "fp16", loader("cuda"))
    assert (loaded.session, loaded.provider) == ("session on cpu", CPU)
    assert loaded.fallback is not None
    assert (loaded.fallback.preferred, loaded.fallback.reason) == ("cuda", "no driver for cuda")


@pytest.mark.usefixtures("installed")
def test_a_precision_that_the_gpu_does_not_run_is_said_and_not_tried() -> None:
    tried: list[str] = []
    loaded = load_on_provider("auto", "int8", lambda provider: tried.append(provider.name))
    assert tried == ["cpu"]
    assert loaded.fallback is not None
    assert "precision int8" in loaded.fallback.reason


def test_the_build_for_cpus_is_no_fallback(installed: set[str]) -> None:
    installed -= {"cuda", "tensorrt"}
    assert load_on_provider("auto", "fp16", loader("cuda")) == Loaded("session on cpu", CPU)


@pytest.mark.usefixtures("installed")
def test_the_first_of_several_is_the_preferred_one() -> None:
    both = [replace(provider, automatic=True) for provider in PROVIDERS]
    loaded = load_on_provider("auto", "fp16", loader("tensorrt-rtx", "tensorrt"), both)
    assert loaded.session == "session on cuda"
    assert loaded.fallback is not None
    assert loaded.fallback.preferred == "tensorrt-rtx"


@pytest.mark.usefixtures("installed")
def test_what_the_last_one_says_is_raised() -> None:
    with pytest.raises(RuntimeLoadError, match="no driver for cpu"):
        load_on_provider("auto", "fp16", loader("cuda", "cpu"))


@pytest.mark.usefixtures("installed")
def test_a_provider_that_was_named_has_no_substitute() -> None:
    with pytest.raises(RuntimeLoadError, match="no driver for cuda"):
        load_on_provider("cuda", "fp16", loader("cuda"))


@pytest.mark.usefixtures("installed")
def test_a_defect_is_no_reason_to_fall_back() -> None:
    def load(provider: Provider) -> str:
        raise TypeError(provider.name)

    with pytest.raises(TypeError, match="cuda"):
        load_on_provider("auto", "fp16", load)
