"""Which model to call, and why."""

from dataclasses import dataclass

from archroute.decision import Decision
from archroute.selection.model import Model
from archroute.selection.needs import Needs
from archroute.selection.reasons import SelectionOutcome, SelectionReason
from archroute.selection.stickiness import Holding, Turn

__all__ = ["DEFAULT_RULE", "SESSION_RULE", "Selection"]

DEFAULT_RULE = "default"
SESSION_RULE = "session"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which model to call, which ones to try if it fails, and how that came about."""

    model: Model

    alternatives: tuple[Model, ...]
    """To try next, in this order: the policy's other models that can do what is needed, then the default
    ones."""

    policy: str | None
    """The policy whose model it is; None for a default model."""

    probability: float | None
    """Of that policy, from 0 to 1, as the router saw this turn; None if it was not asked or named none."""

    outcome: SelectionOutcome
    reason: SelectionReason

    rule: str
    """What chose the model: the name of a strategy; `session` if it is the one that the session had;
    `default`."""

    experiment: str
    """The name that the model map gives to what is tried out under the policy; empty if it gives none. The
    arm of the experiment is `model`."""

    fits: bool
    """Whether the model can do what is needed. False only if neither a model of the policy nor a default one
    can."""

    needs: Needs
    """As the caller said, joined with what the conversation shows."""

    key: str
    """The session: as given, or derived from how the conversation begins."""

    holding: Holding
    """What the session holds after this turn."""

    turn: Turn | None
    """What the router said. A session's turns, replayed, give `holding`. None if the router failed: such a
    turn changes nothing."""

    decision: Decision | None
    """The router's answer, if there was one."""

    error: Exception | None
    """What went wrong, if something did."""
