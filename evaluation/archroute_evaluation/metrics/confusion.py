"""Which answers are taken for which."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from archroute_evaluation.metrics.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often `answer` was given where `expected` was right, of all times that it was."""

    expected: str
    answer: str
    count: int
    of: int


def worst_confusions(outcomes: Iterable[Outcome], limit: int = 15) -> list[Confusion]:
    """Return the pairs that were confused most often, the worst first."""
    among = list(outcomes)
    expected = Counter(outcome.expected for outcome in among)
    pairs = Counter((outcome.expected, outcome.answer) for outcome in among if not outcome.right)
    worst = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [Confusion(right, given, count, expected[right]) for (right, given), count in worst]
