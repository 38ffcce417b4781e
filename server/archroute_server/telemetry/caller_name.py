"""CallerName: what a caller is called in the log and the metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallerName:
    """A name that the server knows its token by, or the address of a caller without one."""

    text: str
    known: bool
    """Whether a token says so. Addresses are too many to be counted one by one."""
