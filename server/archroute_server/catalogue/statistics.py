"""CatalogueStatistics: how the policies files were followed so far."""

from dataclasses import dataclass
from enum import Enum


class ReloadResult(Enum):
    """What came of looking at the policies files."""

    UNCHANGED = "unchanged"
    """They are what they were when they were last looked at."""
    APPLIED = "applied"
    """Requests are decided by what is in them now."""
    REFUSED = "refused"
    """They have a mistake. What they had before goes on."""
    FAILED = "failed"
    """Something else went wrong, and it will be tried again. What they had before goes on."""


@dataclass(frozen=True, slots=True)
class CatalogueStatistics:
    """Counters since the start, the start not counted."""

    applied: int
    refused: int
    failed: int
    up_to_date: bool
    """Whether requests are decided by what is in the files, as far as that is known."""
    last_success: float
    """When the files were last found usable and new, at the start or later: seconds since 1970."""
