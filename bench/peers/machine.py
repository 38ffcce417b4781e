"""What machine this is."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

# Of the processor's flags, those that decide how fast it multiplies small numbers.
_TELLING_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def describe() -> dict[str, str]:
    """Return the machine's processor, memory, system, and the date."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = set(_field(information, "flags").split())
    return {
        "processor": f"{_field(information, 'model name')}, {cores()} cores",
        "instructions": ", ".join(flag for flag in _TELLING_FLAGS if flag in flags) or "none of note",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _field(information: str, name: str) -> str:
    for line in information.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
