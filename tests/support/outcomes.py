"""Outcomes for tests of the metrics, as short as a table."""

from collections.abc import Mapping

from archroute_evaluation.metrics.outcome import Outcome


def outcome(
    expected: str,
    answer: str,
    probability: float = 0.5,
    *,
    line: int = 1,
    probabilities: Mapping[str, float] | None = None,
    policies: int = 3,
    turns: int = 1,
    language: str = "",
    **tags: str,
) -> Outcome:
    """Return an outcome whose ranking knows nothing but the answer, unless it is given."""
    known = {answer: probability} if probabilities is None else probabilities
    return Outcome(line, expected, answer, probability, known, policies, turns, language, tags)
