"""Fetching the published data sets from their own homes, in the form that `clinc150` and `sgd` read.

    CLINC150                data/domains.json        {domain: [intent, ...]}
                            data/data_full.json      {"train": [[text, intent], ...], "oos_train": ...}
    Schema-Guided Dialogue  train/schema.json        [{"service_name", "description", "intents": [...]}, ...]
                            train/dialogues_*.json   [{"dialogue_id", "turns": [{"speaker", "utterance",
                                                     "frames": [{"service", "state": {"active_intent"}}]}]}]

The parts that both publish as their tests are not fetched, so that nothing can be trained on them.
"""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archroute_export.errors import ExportError
from archroute_server.router.whole_file import write_lines

_GITHUB = "https://raw.githubusercontent.com"
CLINC150_URL = f"{_GITHUB}/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de"
SGD_URL = (
    f"{_GITHUB}/google-research-datasets/dstc8-schema-guided-dialogue"
    "/2c8965ca6d3f93f4c0e2f88b055aec515ec2dc82"
)
# Which of the 127 files of dialogues to train on are taken: enough of each of their services.
SGD_PARTS = (35, 92, 17, 63, 4, 107, 87, 44, 1, 67, 88, 102, 86, 46, 2, 43, 30, 113, 36)

_TIMEOUT_SECONDS = 60
_ATTRIBUTION = "ATTRIBUTION.txt"

# Told how many files have been fetched, and how many there are.
Progress = Callable[[int, int], None]


class FetchError(ExportError):
    """A data set that cannot be fetched; the message names the address."""


def fetch_clinc150(folder: Path, base: str, progress: Progress) -> None:
    """Fetch CLINC150 from a copy of its repository at `base` into `folder`. Raises `FetchError`."""
    names = ("data/domains.json", "data/data_full.json")
    domains, data = _fetch_all(base, names, progress)
    source = f"{base}/{names[1]}"
    with _shape_of(source):
        train = [*_clinc150_lines(data["train"]), *_clinc150_lines(data["oos_train"])]
        validation = [*_clinc150_lines(data["val"]), *_clinc150_lines(data["oos_val"])]
    _write(folder / "domains.json", [json.dumps(domains, indent=1)])
    _write(folder / "train.jsonl", train)
    _write(folder / "val.jsonl", validation)
    _write(
        folder / _ATTRIBUTION,
        [
            'CLINC150: Larson et al., "An Evaluation Dataset for Intent Classification and Out-of-Scope',
            'Prediction", 2019. Licence: Creative Commons Attribution 3.0. https://github.com/clinc/oos-eval',
            "Changed: another file format; the test part left out.",
        ],
    )


def fetch_sgd(folder: Path, base: str, progress: Progress, parts: Iterable[int] = SGD_PARTS) -> None:
    """Fetch Schema-Guided Dialogue from a copy of its repository at `base`. Raises `FetchError`."""
    names = ("train/schema.json", *(f"train/dialogues_{part:03}.json" for part in parts))
    schema, *dialogues = _fetch_all(base, names, progress)
    with _shape_of(f"{base}/{names[0]}"):
        services = [_service(service) for service in schema]
    lines: list[str] = []
    for name, part in zip(names[1:], dialogues, strict=True):
        with _shape_of(f"{base}/{name}"):
            lines += [_compact(_dialogue(dialogue)) for dialogue in part]
    _write(folder / "train_schema.json", [json.dumps(services, indent=1)])
    _write(folder / "train.jsonl", lines)
    _write(
        folder / _ATTRIBUTION,
        [
            'Schema-Guided Dialogue: Rastogi et al., "Towards Scalable Multi-Domain Conversational Agents",',
            "2020. Licence: Creative Commons Attribution-ShareAlike 4.0.",
            "https://github.com/google-research-datasets/dstc8-schema-guided-dialogue",
            "Changed: another file format; a part of the training dialogues, and of each turn its speaker,",
            "text and active intents.",
        ],
    )


def _clinc150_lines(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for text, intent in pairs:
        yield _compact({"text": text, "intent": None if intent == "oos" else intent})


def _service(service: Mapping[str, Any]) -> dict[str, Any]:
    intents = [
        {"name": intent["name"], "description": intent["description"]} for intent in service["intents"]
    ]
    return {
        "service": service["service_name"],
        "description": service["description"],
        "intents": intents,
    }


def _dialogue(dialogue: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": dialogue["dialogue_id"], "turns": [_turn(turn) for turn in dialogue["turns"]]}


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    if turn["speaker"] == "SYSTEM":
        return {"role": "assistant", "content": turn["utterance"]}
    active = [[frame["service"], frame["state"]["active_intent"]] for frame in turn["frames"]]
    return {"role": "user", "content": turn["utterance"], "active": active}


@contextmanager
def _shape_of(url: str) -> Iterator[None]:
    """Turn what goes wrong with data of an unexpected shape into a `FetchError`."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise FetchError(f"{url} has not the expected shape: {error!r}") from error


def _fetch_all(base: str, names: tuple[str, ...], progress: Progress) -> list[Any]:
    found = []
    for done, name in enumerate(names):
        progress(done, len(names))
        found.append(_fetch(f"{base}/{name}"))
    progress(len(names), len(names))
    return found


def _fetch(url: str) -> Any:
    if not url.startswith(("https://", "http://")):
        raise FetchError(f"{url} is not a web address")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            content = response.read()
    except urllib.error.HTTPError as error:
        with error:
            raise FetchError(f"{url}: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise FetchError(f"{url}: {error.reason}. Is this machine connected to the internet?") from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{url}: the connection broke off: {error!r}") from error
    try:
        return json.loads(content)
    except ValueError as error:
        raise FetchError(f"{url} is not JSON: {error}") from error


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write a file whole or not at all."""
    try:
        write_lines(path, lines)
    except OSError as error:
        raise FetchError(f"cannot write {path}: {error.strerror or error}") from error
