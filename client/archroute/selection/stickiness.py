"""Keeps a session with its policy, unless another one is clearly better.

Pure: what a session holds after some turns is `replay(turns)`, whatever the clock and whoever asks.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from archroute.decision import Decision, Outcome

__all__ = ["OTHER", "Holding", "Stickiness", "Turn", "Verdict"]

OTHER: Final = "other"
"""What the ranking calls the answer that no policy fits. No policy may be called so."""


class Verdict(enum.Enum):
    """What a turn did to its session."""

    FIRST = "first"
    SAME = "same"
    SWITCHED = "switched"
    NOT_A_USER_TURN = "not_a_user_turn"
    WITHIN_MARGIN = "within_margin"
    SWITCHES_SPENT = "switches_spent"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the router said of one turn."""

    policy: str | None
    """The policy, `other`, or None if the router was not sure or was not asked."""

    probabilities: Mapping[str, float] = field(default_factory=dict)
    """By policy, `other` included. A policy that is missing counts as 0."""

    by_user: bool = True
    """Whether the turn ends with the user's words."""

    @classmethod
    def of(cls, decision: Decision, *, by_user: bool = True) -> "Turn":
        """Reads a decision."""
        named = OTHER if decision.outcome is Outcome.OTHER else decision.policy
        ranking = {each.policy: each.probability for each in decision.ranking}
        # An older server gives no ranking at all, and a cut one may lack the choice.
        if named is not None:
            ranking.setdefault(named, decision.probability)
        return cls(named, ranking, by_user)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a session holds."""

    policy: str | None = None
    """The policy or `other`; None until a first one is named."""

    switches: int = 0
    """How often it changed since."""


@dataclass(frozen=True, slots=True)
class Stickiness:
    """When a session changes its policy."""

    margin: float = 0.15
    """By how much a new policy's probability must exceed that of the policy held."""

    max_switches: int = 8
    """How often a session may change its policy. After that it stays with the one it has."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1 or self.max_switches < 0:
            raise ValueError("stickiness needs a margin from 0 to 1 and 0 switches or more")

    def step(self, holding: Holding, turn: Turn) -> tuple[Holding, Verdict]:
        """What the session holds after a turn, and why."""
        if holding.policy is None:
            return replace(holding, policy=turn.policy), Verdict.FIRST
        if not turn.by_user:
            return holding, Verdict.NOT_A_USER_TURN
        if turn.policy is None:
            return holding, Verdict.UNSURE
        if turn.policy == holding.policy:
            return holding, Verdict.SAME
        ahead = turn.probabilities.get(turn.policy, 0.0) - turn.probabilities.get(holding.policy, 0.0)
        if ahead < self.margin:
            return holding, Verdict.WITHIN_MARGIN
        if holding.switches >= self.max_switches:
            return holding, Verdict.SWITCHES_SPENT
        return Holding(turn.policy, holding.switches + 1), Verdict.SWITCHED

    def replay(self, turns: Iterable[Turn]) -> tuple[Holding, tuple[Verdict, ...]]:
        """What a session holds after all of these turns, and what each did."""
        holding, verdicts = Holding(), []
        for turn in turns:
            holding, verdict = self.step(holding, turn)
            verdicts.append(verdict)
        return holding, tuple(verdicts)
