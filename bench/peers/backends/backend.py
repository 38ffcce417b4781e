"""What a peer has to be able to do."""

import resource
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peers.cases import Case, Request


@dataclass(frozen=True)
class Decided:
    """The policy that was chosen, and how many tokens the library made of the prompt.

    `elsewhere` are seconds of it that a server says it spent itself, None if there is no server.
    """

    policy: str
    prompt_tokens: int
    elsewhere: float | None = None


class Backend(ABC):
    """A model that is loaded, and decides. What a request leaves behind may serve the next of its case."""

    concurrent = False
    """Whether several threads may call `decide` at the same time."""
    batches = False
    """Whether `decide_together` is more than one decision after the other."""

    @abstractmethod
    def decide(self, case: Case, request: Request) -> Decided:
        """Read the prompt and choose a policy, `other` included."""

    def decide_together(self, case: Case, requests: Sequence[Request]) -> list[Decided]:
        """Decide several requests that came at the same time."""
        return [self.decide(case, request) for request in requests]

    def peak_bytes(self) -> int:
        """Return the most memory that the model's process held at any time since it started."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kibibytes on Linux

    def resident_bytes(self) -> int:
        """Return the memory that the model's process holds now."""
        return process_memory("self", "VmRSS")

    def close(self) -> None:  # noqa: B027
        """Let go of whatever does not end with this process."""


def process_memory(pid: int | str, field: str) -> int:
    """Return a field of a process's /proc/PID/status, such as VmHWM, in bytes."""
    with Path(f"/proc/{pid}/status").open(encoding="utf-8") as status:
        for line in status:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/status has no {field}")
