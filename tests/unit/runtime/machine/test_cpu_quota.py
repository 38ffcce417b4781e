import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from archroute_server.runtime.machine.cpu_quota import cpu_quota, threads_in_quota

Write = Callable[[str, str], None]


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


def quota(root: Path) -> float:
    return cpu_quota(root / "cgroup", root / "own")


def threads(root: Path) -> int:
    return threads_in_quota(root / "cgroup", root / "own", root / "cpus")


@pytest.mark.parametrize(
    ("text", "expected"), [("150000 100000", 1.5), ("max 100000", math.inf), ("50000 100000", 0.5)]
)
def test_version_2(root: Path, write: Write, text: str, expected: float) -> None:
    write("own", "0::/")
    write("cgroup/cpu.max", text)
    assert quota(root) == expected


def test_the_least_quota_of_the_folders_above_holds(root: Path, write: Write) -> None:
    write("own", "0::/pods/one/container")
    write("cgroup/pods/cpu.max", "800000 100000")
    write("cgroup/pods/one/cpu.max", "200000 100000")
    write("cgroup/pods/one/container/cpu.max", "max 100000")
    assert quota(root) == 2


@pytest.mark.parametrize(("text", "expected"), [("250000", 2.5), ("-1", math.inf)])
@pytest.mark.parametrize("folder", ["cpu,cpuacct/docker/abc", "cpu,cpuacct", "cpu/docker", "cpu"])
def test_version_1(root: Path, write: Write, text: str, expected: float, folder: str) -> None:
    write("own", "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/")
    write(f"cgroup/{folder}/cpu.cfs_quota_us", text)
    write(f"cgroup/{folder}/cpu.cfs_period_us", "100000")
    assert quota(root) == expected


def test_both_versions_at_once(root: Path, write: Write) -> None:
    write("own", "1:cpu:/a\n0::/a")
    write("cgroup/unified/a/cpu.max", "max 100000")
    write("cgroup/cpu/a/cpu.cfs_quota_us", "100000")
    write("cgroup/cpu/a/cpu.cfs_period_us", "100000")
    assert quota(root) == 1


def test_nothing_there_is_no_quota(root: Path) -> None:
    assert quota(root) == math.inf
    assert threads(root) == 0


def test_this_machine_can_be_asked() -> None:
    assert cpu_quota() > 0
    assert 0 <= threads_in_quota() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("microseconds", "expected"), [(399_999, 3), (100_000, 1), (10_000, 1), (400_000, 0), (900_000, 0)]
)
def test_threads_are_whole_cpus_below_the_physical_cores(
    root: Path, write: Write, monkeypatch: pytest.MonkeyPatch, microseconds: int, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for cpu in range(8):
        write(f"cpus/cpu{cpu}/topology/thread_siblings_list", f"{cpu % 4},{cpu % 4 + 4}")
    write("own", "0::/")
    write("cgroup/cpu.max", f"{microseconds} 100000")
    assert threads(root) == expected
