"""Vitals: whether the model runs, as far as its last runs tell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the model's runs went of late, and how the one under way does."""

    failed_runs: int
    """Runs that failed since the start; one for several requests that fails is followed by one for each."""
    failures_in_a_row: int
    """How many of the last runs failed, up to the last that did not."""
    forward_seconds: float
    """How long the forward pass under way has run; 0 if there is none."""
    stalled: bool
    """Whether that is longer than a forward pass may take."""
