"""An HTTP server with as much of OpenAI's chat completions as tests need, which misbehaves on request."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("one", "two", "three")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # Small writes go out at once, so that the client has the chunks that were sent before a fault.
    disable_nagle_algorithm = True
    server: "_Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        fake = self.server.fake
        with fake.lock:
            fake.requests.append(Request(self.path, body, self.headers.get("authorization", "")))
            script = fake.scripts.get(body["model"], [])
            behave = script.pop(0) if script else answer
        behave(self, body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def send_event(self, data: str) -> None:
        self.send_piece(f"data: {data}\n\n".encode())

    def send_piece(self, piece: bytes) -> None:
        """One chunk of HTTP; an empty one ends the body."""
        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.flush()


Behaviour = Callable[[Handler, Mapping[str, Any]], None]
"""What is done with a request."""


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    path: str
    body: Mapping[str, Any]
    authorization: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: "FakeOpenAI"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


@dataclass
class FakeOpenAI:
    """The server: what it is to do, and what it was asked."""

    url: str = ""
    """The base URL of its API."""

    requests: list[Request] = field(default_factory=list)
    scripts: dict[str, list[Behaviour]] = field(default_factory=dict)
    """What to do with the next requests for a model. After that it answers."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)
    """Set at the end: what hangs, hangs until then."""

    def asked(self) -> list[str]:
        """The models of the requests, in their order."""
        with self.lock:
            return [request.body["model"] for request in self.requests]


@contextmanager
def fake_openai() -> Iterator[FakeOpenAI]:
    """A server on a free port of the loopback interface."""
    server = _Server(("127.0.0.1", 0), Handler)
    fake = FakeOpenAI(f"http://127.0.0.1:{server.server_address[1]}/v1")
    server.fake = fake
    # Looks often whether to stop, so that a test ends soon.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield fake
    finally:
        fake.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def completion(model: str, text: str) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


def chunk(model: str, text: str) -> dict[str, Any]:
    """A chunk of one."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }


def answer(handler: Handler, body: Mapping[str, Any]) -> None:
    """What a healthy server does: says one, two, three."""
    if not body.get("stream"):
        text = " ".join(WORDS)
        handler.send(200, json.dumps(completion(body["model"], text)).encode(), {})
        return
    handler.begin_stream()
    for word in WORDS:
        handler.send_event(json.dumps(chunk(body["model"], word)))
    handler.send_event("[DONE]")
    handler.send_piece(b"")


def refuse(status: int, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answers with an error."""

    def behave(handler: Handler, body: Mapping[str, Any]) -> None:
        error = {"error": {"message": "on purpose", "type": "test", "param": None, "code": None}}
        handler.send(status, json.dumps(error).encode(), headers or {})

    return behave


def say(text: str, content_type: str = "application/json") -> Behaviour:
    """Answers with status 200 and a text, whatever that is."""

    def behave(handler: Handler, body: Mapping[str, Any]) -> None:
        handler.send(200, text.encode(), {"content-type": content_type})

    return behave


def hang(handler: Handler, body: Mapping[str, Any]) -> None:
    """Takes the request, and says nothing."""
    handler.server.fake.released.wait()
    handler.close_connection = True


def reset(handler: Handler, body: Mapping[str, Any]) -> None:
    """Resets the connection."""
    _reset(handler)


def stream(*events: str, then: Behaviour | None = None) -> Behaviour:
    """Streams these events, and ends, or does something else."""

    def behave(handler: Handler, body: Mapping[str, Any]) -> None:
        handler.begin_stream()
        for event in events:
            handler.send_event(event)
        if then is None:
            handler.send_piece(b"")
        else:
            then(handler, body)

    return behave


def break_off(handler: Handler, body: Mapping[str, Any]) -> None:
    """Closes the connection, though the body has no end yet."""
    handler.close_connection = True


def _reset(handler: Handler) -> None:
    # A socket that does not linger is closed with RST instead of FIN.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RD)
