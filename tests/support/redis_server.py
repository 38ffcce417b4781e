"""A Redis server of the test's own."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import redis

PROGRAM = "redis-server"
HOW_TO_GET_IT = f"there is no {PROGRAM}; on Debian: apt install {PROGRAM}"


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Start one on a socket in `folder`, and give its URL."""
    path = folder / "redis.sock"
    options = {"port": "0", "unixsocket": str(path), "dir": str(folder), "save": "", "appendonly": "no"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    process = subprocess.Popen(
        [PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        # Its own words are the only sign that needs no asking again and again.
        for line in process.stdout:
            if "ready to accept connections" in line.lower():
                break
        else:
            raise AssertionError("redis-server ended before it was ready")
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def stop(url: str) -> None:
    """End the server that answers at a URL, as if it had died."""
    with redis.Redis.from_url(url) as client, contextlib.suppress(redis.ConnectionError):
        client.shutdown(nosave=True)
