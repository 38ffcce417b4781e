from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from archroute_export.checkpoint import hub
from archroute_export.checkpoint.errors import CheckpointError

MODEL = "katanemo/Arch-Router-1.5B"


def without_response(kind: type[Exception], message: str) -> Exception:
    """Build an error of the hub without the HTTP response that its constructor may insist on."""
    error = kind.__new__(kind, message)
    Exception.__init__(error, message)
    return error


def snapshot(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., str]) -> None:
    monkeypatch.setattr("archroute_export.checkpoint.hub.snapshot_download", answer)


def test_fetches_only_what_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def answer(model: str, *, allow_patterns: list[str]) -> str:
        asked.update(model=model, allow_patterns=allow_patterns)
        return str(tmp_path)

    snapshot(monkeypatch, answer)
    assert hub.download(MODEL) == tmp_path
    assert asked["model"] == MODEL
    assert "model.safetensors" in asked["allow_patterns"]
    assert not any("bin" in pattern or pattern == "*" for pattern in asked["allow_patterns"])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (without_response(GatedRepoError, "403"), f"{MODEL}: the model needs permission"),
        (without_response(RepositoryNotFoundError, "404"), f"{MODEL}: there is no such model"),
        (LocalEntryNotFoundError("offline"), f"{MODEL}: the Hugging Face hub cannot be reached"),
        (OSError(28, "No space left on device"), "the download failed: .*No space left"),
        (RuntimeError("connection lost halfway"), "the download failed: connection lost halfway"),
    ],
)
def test_every_failure_says_that_a_folder_works_too(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def answer(model: str, **_: object) -> str:
        raise error

    snapshot(monkeypatch, answer)
    with pytest.raises(CheckpointError, match=message) as caught:
        hub.download(MODEL)
    assert "archroute export FOLDER" in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (HFValidationError("too long"), "not a name on the Hugging Face hub: too long"),
        (without_response(HfHubHTTPError, "500 Server Error"), "answers with an error: 500 Server Error"),
    ],
)
def test_other_errors_pass_on_what_the_hub_says(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def answer(model: str, **_: object) -> str:
        raise error

    snapshot(monkeypatch, answer)
    with pytest.raises(CheckpointError, match=message):
        hub.download(MODEL)


def test_offline_without_a_cache_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="cannot be reached and the model is not in its cache"):
        hub.download("archroute-tests/no-such-model")


@pytest.mark.parametrize("source", [MODEL, "Qwen/Qwen2.5-0.5B", "a/b_c.d"])
def test_recognises_an_id(source: str) -> None:
    assert hub.is_hub_id(source)


@pytest.mark.parametrize(
    "source", ["gpt2", "a/b/c", "/a/b", "./a/b", "a/", "https://huggingface.co/a/b", "ä/b"]
)
def test_recognises_what_is_no_id(source: str) -> None:
    assert not hub.is_hub_id(source)
