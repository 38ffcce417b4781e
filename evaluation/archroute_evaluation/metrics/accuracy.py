"""How often the router is right: by turn, by span, by conversation.

The three measures of the Arch-Router paper (https://arxiv.org/abs/2506.16655). Lines that carry the same tag
`conversation` are the turns of one conversation; they are put in order by how many messages of the user they
hold, and by their lines where that is equal. A line without the tag is a conversation of one turn.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

from archroute_evaluation.metrics.outcome import Failure, Outcome
from archroute_evaluation.metrics.proportion import Proportion


def turn_accuracy(outcomes: Iterable[Outcome]) -> Proportion:
    """Return the share of turns that are right: right turns / turns."""
    return Proportion.of(outcome.right for outcome in outcomes)


def span_accuracy(conversations: Iterable[Sequence[Outcome]]) -> Proportion:
    """Return the share of spans that are right: spans in which every turn is right / spans.

    A span is a maximal run of consecutive turns of one conversation that expect the same answer.
    """
    return Proportion.of(
        all(outcome.right for outcome in span)
        for conversation in conversations
        for _, span in groupby(conversation, key=lambda outcome: outcome.expected)
    )


def conversation_accuracy(conversations: Iterable[Sequence[Outcome]]) -> Proportion:
    """Return the share of conversations that are right: those in which every turn is right / all."""
    return Proportion.of(all(outcome.right for outcome in conversation) for conversation in conversations)


def whole_conversations(
    outcomes: Iterable[Outcome], failures: Collection[Failure] = ()
) -> list[list[Outcome]]:
    """Return the turns of each conversation in order, without the conversations that have a failed turn.

    Whether a span with a failed turn is right is not known, and neither is where it ends.
    """
    broken = {failure.conversation for failure in failures if failure.conversation is not None}
    grouped: dict[str | int, list[Outcome]] = {}
    for outcome in outcomes:
        name = outcome.conversation
        if name not in broken:
            grouped.setdefault(outcome.line if name is None else name, []).append(outcome)
    return [sorted(turns, key=lambda turn: (turn.turns, turn.line)) for turns in grouped.values()]
