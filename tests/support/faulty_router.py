"""A router in a process of its own, which does what the first word of a request says.

`python faulty_router.py PORT` listens on the port, or on a free one for 0, and prints which. It ends with its
standard input.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc

from archroute.v1 import router_pb2

CODE = router_pb2.RouteResponse(
    policy="code", outcome=router_pb2.OUTCOME_MATCHED, probability=0.75, models=["large"]
).SerializeToString()
NO_OUTCOME = router_pb2.RouteResponse(policy="code").SerializeToString()
GARBAGE = b"\xff\xff\xff\xff"

SLOW = 2.0
"""Seconds that a slow answer takes."""


async def answer(request: router_pb2.RouteRequest, context: grpc.aio.ServicerContext) -> bytes:
    """Answers, well or badly."""
    behaviour = request.messages[0].parts[0].text.partition(" ")[0]
    match behaviour:
        case "garbage":
            return GARBAGE
        case "empty":
            return NO_OUTCOME
        case "broken":
            raise RuntimeError("on purpose")
        case "refusing":
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "-1"),))
            await context.abort(grpc.StatusCode.UNAVAILABLE, "on purpose")
        case "slow":
            await asyncio.sleep(SLOW)
    return CODE


async def serve(port: int) -> None:
    """Serves until standard input ends."""
    handler = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=router_pb2.RouteRequest.FromString
    )
    # Or else a second one could share the port of the first.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("archroute.v1.RouterService", {"Route": handler}),)
    )
    sys.stdout.write(f"{server.add_insecure_port(f'127.0.0.1:{port}')}\n")
    await server.start()
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


class FaultyRouter:
    """Starts it, kills it, freezes it, and starts it again at the same address."""

    def __init__(self) -> None:
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, f"{Path(__file__).name} ended before it listened on port {self._port}"
        self._port = int(said)

    def kill(self) -> None:
        """Ends it without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops it from running; its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
