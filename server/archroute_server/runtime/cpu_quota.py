"""How many threads a container's CPU quota has room for.

ONNX Runtime by itself takes a thread for each physical core of the machine and does not know of the quota.
With more threads than the quota pays for, the kernel stops all of them for the rest of each period.

    cgroup v2   /sys/fs/cgroup/<path>/cpu.max                      "200000 100000": 2 CPUs, "max 100000": any
    cgroup v1   /sys/fs/cgroup/cpu,cpuacct/<path>/cpu.cfs_quota_us "200000", or "-1" for any
                                                /cpu.cfs_period_us "100000"

<path> is in /proc/self/cgroup; a quota of each folder above holds too. See
https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/scheduler/sched-bwc.html
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
CPUS = Path("/sys/devices/system/cpu")


def threads_in_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP, cpus: Path = CPUS) -> int:
    """Return how many whole CPUs the quota pays for, at least 1; 0 if it holds no core back."""
    quota = cpu_quota(cgroups, own)
    if quota >= _physical_cores(cpus):
        return 0
    return max(1, math.floor(quota))


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> float:
    """Return the quota of this process in CPUs; infinite without one, and where there are no cgroups."""
    return min((_quota(folder) for folder in _folders(cgroups, own)), default=math.inf)


def _folders(cgroups: Path, own: Path) -> Iterator[Path]:
    """Name the folders that may hold a quota. Some need not exist: a container sees only its own part."""
    for line in (_read(own) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            mounts = [cgroups, cgroups / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [cgroups / controllers, cgroups / "cpu"]
        else:
            continue
        relative = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / folder for folder in (relative, *relative.parents))


def _quota(folder: Path) -> float:
    quota, period = (_read(folder / "cpu.max") or "").split() or ("max", "")
    if not period:
        quota = _read(folder / "cpu.cfs_quota_us") or "-1"
        period = _read(folder / "cpu.cfs_period_us") or ""
    if quota in ("max", "-1") or not period:
        return math.inf
    return int(quota) / int(period)


def _physical_cores(cpus: Path) -> int:
    """Count the cores that this process may use; threads of one core name the same siblings."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len({_read(cpus / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in usable})


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
