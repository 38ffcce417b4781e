import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archroute_export.finetune.sources.fetch import FetchError, fetch_clinc150, fetch_sgd

DOMAINS = {"banking": ["balance"]}
DATA = {
    "train": [["how much have i got", "balance"]],
    "val": [["account balance", "balance"]],
    "test": [["never to be trained on", "balance"]],
    "oos_train": [["why is it räining", "oos"]],
    "oos_val": [["who won", "oos"]],
    "oos_test": [["never to be trained on either", "oos"]],
}
SCHEMA = [
    {
        "service_name": "Buses_1",
        "description": "Buses",
        "slots": [],
        "intents": [{"name": "FindBus", "description": "Find a bus", "is_transactional": False}],
    }
]
DIALOGUES = [
    {
        "dialogue_id": "7_00000",
        "services": ["Buses_1"],
        "turns": [
            {
                "speaker": "USER",
                "utterance": "a bus to Rome",
                "frames": [{"service": "Buses_1", "slots": [], "state": {"active_intent": "FindBus"}}],
            },
            {"speaker": "SYSTEM", "utterance": "When?", "frames": [{"service": "Buses_1"}]},
        ],
    }
]


class Upstream:
    """A web server with the files of a repository."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {
            "/clinc/data/domains.json": json.dumps(DOMAINS).encode(),
            "/clinc/data/data_full.json": json.dumps(DATA).encode(),
            "/sgd/train/schema.json": json.dumps(SCHEMA).encode(),
            "/sgd/train/dialogues_007.json": json.dumps(DIALOGUES).encode(),
        }
        self.url = ""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    served = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def ignore(done: int, total: int) -> None:
    pass


def test_clinc150_without_its_test(upstream: Upstream, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    fetch_clinc150(tmp_path, f"{upstream.url}/clinc", lambda done, total: steps.append((done, total)))
    assert json.loads((tmp_path / "domains.json").read_text()) == DOMAINS
    assert (tmp_path / "train.jsonl").read_text(encoding="utf-8") == (
        '{"text":"how much have i got","intent":"balance"}\n{"text":"why is it räining","intent":null}\n'
    )
    assert (tmp_path / "val.jsonl").read_text() == (
        '{"text":"account balance","intent":"balance"}\n{"text":"who won","intent":null}\n'
    )
    assert "Creative Commons Attribution 3.0" in (tmp_path / "ATTRIBUTION.txt").read_text()
    assert steps == [(0, 2), (1, 2), (2, 2)]


def test_sgd_keeps_speakers_texts_and_intents(upstream: Upstream, tmp_path: Path) -> None:
    fetch_sgd(tmp_path, f"{upstream.url}/sgd", ignore, parts=(7,))
    assert json.loads((tmp_path / "train_schema.json").read_text()) == [
        {
            "service": "Buses_1",
            "description": "Buses",
            "intents": [{"name": "FindBus", "description": "Find a bus"}],
        }
    ]
    assert json.loads((tmp_path / "train.jsonl").read_text()) == {
        "id": "7_00000",
        "turns": [
            {"role": "user", "content": "a bus to Rome", "active": [["Buses_1", "FindBus"]]},
            {"role": "assistant", "content": "When?"},
        ],
    }
    assert "Attribution-ShareAlike 4.0" in (tmp_path / "ATTRIBUTION.txt").read_text()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "the server answered 404"),
        (b"<html>", "is not JSON"),
        (b'{"train": []}', "has not the expected shape"),
        (b'{"train": [["a"]], "oos_train": [], "val": [], "oos_val": []}', "has not the expected shape"),
    ],
)
def test_wrong_data_leaves_nothing(
    upstream: Upstream, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    upstream.files.pop("/clinc/data/data_full.json")
    if content is not None:
        upstream.files["/clinc/data/data_full.json"] = content
    with pytest.raises(FetchError, match=rf"{upstream.url}/clinc/data/data_full\.json:? {reason}"):
        fetch_clinc150(tmp_path / "clinc150", f"{upstream.url}/clinc", ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(FetchError, match=rf"{url}/train/schema\.json: .*refused"):
            fetch_sgd(tmp_path, url, ignore)


def test_only_the_web_is_fetched_from(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is not a web address"):
        fetch_clinc150(tmp_path, tmp_path.as_uri(), ignore)


def test_a_folder_that_cannot_be_written_is_named(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match=r"cannot write .*domains\.json"):
        fetch_clinc150(tmp_path / "file", f"{upstream.url}/clinc", ignore)
