"""How many threads a container's CPU quota has room for.

ONNX Runtime by itself takes a thread for each physical core of the machine and does not know of the quota.
With more threads than the quota pays for, the kernel stops all of them for the rest of each period.

    cgroup v2   /sys/fs/cgroup/<path>/cpu.max                      "200000 100000": 2 CPUs, "max 100000": any
    cgroup v1   /sys/fs/cgroup/cpu,cpuacct/<path>/cpu.cfs_quota_us "200000", or "-1" for any
                                                /cpu.cfs_period_us "100000"

<path> is as `cgroups` has it, and a quota of each folder above holds too. See
https://docs.kernel.org/scheduler/sched-bwc.html
"""

import math
import os
from pathlib import Path

from archroute_server.runtime.machine.cgroups import CGROUPS, OWN_CGROUP, cgroup_folders, read_text

CPUS = Path("/sys/devices/system/cpu")


def threads_in_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP, cpus: Path = CPUS) -> int:
    """Return how many whole CPUs the quota pays for, at least 1; 0 if it holds no core back."""
    quota = cpu_quota(cgroups, own)
    if quota >= _physical_cores(cpus):
        return 0
    return max(1, math.floor(quota))


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> float:
    """Return the quota of this process in CPUs; infinite without one, and where there are no cgroups."""
    return min((_quota(folder) for folder in cgroup_folders("cpu", cgroups, own)), default=math.inf)


def _quota(folder: Path) -> float:
    quota, period = (read_text(folder / "cpu.max") or "").split() or ("max", "")
    if not period:
        quota = read_text(folder / "cpu.cfs_quota_us") or "-1"
        period = read_text(folder / "cpu.cfs_period_us") or ""
    if quota in ("max", "-1") or not period:
        return math.inf
    return int(quota) / int(period)


def _physical_cores(cpus: Path) -> int:
    """Count the cores that this process may use; threads of one core name the same siblings."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len({read_text(cpus / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in usable})
