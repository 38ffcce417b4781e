"""Where the kernel keeps the limits of this process: the folders of its control groups.

/proc/self/cgroup has a line for each hierarchy: "<id>:<controllers>:<path>", and with no controllers for
version 2. A limit of a folder holds for all below it. A container often sees only its own part of the tree,
so that some folders need not exist. See https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def cgroup_folders(controller: str, cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> Iterator[Path]:
    """Name the folders that may hold a limit of `controller`, such as "cpu", for this process."""
    for line in (read_text(own) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            mounts = [cgroups, cgroups / "unified"]
        elif controller in controllers.split(","):
            mounts = [cgroups / controllers, cgroups / controller]
        else:
            continue
        relative = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / folder for folder in (relative, *relative.parents))


def read_text(path: Path) -> str | None:
    """Return what a file of the kernel says, without white space around it; None if there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
