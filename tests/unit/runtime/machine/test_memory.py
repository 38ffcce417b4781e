import math
from collections.abc import Callable
from pathlib import Path

import pytest

from archroute_server.runtime.machine.memory import available_memory

Write = Callable[[str, str], None]

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    2000000 kB"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def write(root: Path) -> Write:
    def written(name: str, text: str) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    return written


def available(root: Path) -> float:
    return available_memory(root / "cgroup", root / "own", root / "meminfo")


def test_what_the_machine_has(root: Path, write: Write) -> None:
    write("meminfo", MEMINFO)
    assert available(root) == 2_000_000 * 1024


def test_what_a_container_may_use(root: Path, write: Write) -> None:
    write("meminfo", MEMINFO)
    write("own", "0::/pod/container")
    write("cgroup/pod/container/memory.max", "1000000")
    write("cgroup/pod/container/memory.current", "700000")
    # Files that were read and may be read again are no loss.
    write("cgroup/pod/container/memory.stat", "anon 500000\ninactive_file 150000\nactive_file 50000")
    assert available(root) == 450_000


def test_the_least_room_of_the_folders_above_holds(root: Path, write: Write) -> None:
    write("own", "0::/pod/container")
    write("cgroup/pod/container/memory.max", "max")
    write("cgroup/pod/container/memory.current", "700000")
    write("cgroup/pod/memory.max", "1000000")
    write("cgroup/pod/memory.current", "990000")
    assert available(root) == 10_000


def test_version_1(root: Path, write: Write) -> None:
    write("meminfo", MEMINFO)
    write("own", "5:memory:/docker/abc\n2:cpu:/docker/abc")
    write("cgroup/memory/docker/abc/memory.limit_in_bytes", "1000000")
    write("cgroup/memory/docker/abc/memory.usage_in_bytes", "900000")
    write("cgroup/memory/docker/abc/memory.stat", "inactive_file 1\ntotal_inactive_file 50000")
    write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    write("cgroup/memory/memory.usage_in_bytes", "5000000")
    assert available(root) == 150_000


def test_more_than_the_limit_is_used(root: Path, write: Write) -> None:
    write("own", "0::/")
    write("cgroup/memory.max", "1000")
    write("cgroup/memory.current", "2000")
    assert available(root) == 0


def test_where_the_kernel_does_not_say(root: Path, write: Write) -> None:
    assert available(root) == math.inf
    write("meminfo", "MemTotal: 16 kB")
    assert available(root) == math.inf


def test_this_machine_can_be_asked() -> None:
    assert available_memory() > 0
