"""How much memory this process can still have, by what the machine has and what its container may use.

    /proc/meminfo                                       "MemAvailable:   12345678 kB"
    cgroup v2   memory.max, memory.current              bytes, or "max"
                memory.stat                             "inactive_file 4096": cached files that go first
    cgroup v1   memory.limit_in_bytes, memory.usage_in_bytes
                memory.stat                             "total_inactive_file 4096"

A limit of each folder above holds too. The memory of a GPU is not looked at.
"""

import math
from pathlib import Path

from archroute_server.runtime.machine.cgroups import CGROUPS, OWN_CGROUP, cgroup_folders, read_text

MEMINFO = Path("/proc/meminfo")


def available_memory(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP, meminfo: Path = MEMINFO) -> float:
    """Return how many bytes can be had without swapping; infinite where the kernel does not say."""
    rooms = [_room(folder) for folder in cgroup_folders("memory", cgroups, own)]
    return min([_available_of_machine(meminfo), *rooms])


def _available_of_machine(meminfo: Path) -> float:
    fields = dict(line.split(":", 1) for line in (read_text(meminfo) or "").splitlines() if ":" in line)
    kibibytes = fields.get("MemAvailable", "").split()
    return int(kibibytes[0]) * 1024 if kibibytes else math.inf


def _room(folder: Path) -> float:
    """Return what the limit of one folder leaves."""
    for limit, usage, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, used = read_text(folder / limit), read_text(folder / usage)
        if most is None or most == "max" or used is None:
            continue
        statistics = dict(line.split() for line in (read_text(folder / "memory.stat") or "").splitlines())
        return max(0, int(most) - int(used) + int(statistics.get(cached, 0)))
    return math.inf
