"""How figures are written for people."""

from collections.abc import Sequence

from archroute_evaluation.asking.answer import DecidedBy
from archroute_evaluation.metrics.flips import Flips
from archroute_evaluation.metrics.proportion import Proportion

NOT_MEASURED = "not measured"

_DIGEST_SHOWN = len("sha256:") + 12
_LINES_SHOWN = 8


def percent(share: float | None) -> str:
    """Write a share from 0 to 1."""
    return "-" if share is None else f"{share * 100:.1f} %"


def number(value: float | None) -> str:
    """Write a score."""
    return "-" if value is None else f"{value:.4f}"


def interval(proportion: Proportion) -> str:
    """Write the 95 % interval."""
    ends = proportion.interval
    return "-" if ends is None else f"{ends[0] * 100:.1f} to {ends[1] * 100:.1f} %"


def of(proportion: Proportion) -> str:
    """Write how many of how many."""
    return f"{proportion.hits} of {proportion.total}"


def flip_note(flips: Flips) -> str:
    """Write what a flip rate is over."""
    note = f"{of(flips.examples)} examples, {of(flips.answers)} answers"
    return note + (f"; {flips.failed} requests failed" if flips.failed else "")


def lines(numbers: Sequence[int]) -> str:
    """Write line numbers, the first ones of many."""
    shown = ", ".join(map(str, numbers[:_LINES_SHOWN]))
    return f"line{'' if len(numbers) == 1 else 's'} {shown}" + (
        ", ..." if len(numbers) > _LINES_SHOWN else ""
    )


def decider(by: DecidedBy) -> str:
    """Write what decided."""
    calibrated = "not calibrated" if by.temperature is None else f"temperature {by.temperature:.4g}"
    digest = by.bundle_digest[:_DIGEST_SHOWN]
    return f"model {digest}, prompt {by.prompt_variant}, on {by.provider}, {calibrated}"
