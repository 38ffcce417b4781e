from archroute_evaluation.metrics.accuracy import (
    conversation_accuracy,
    span_accuracy,
    turn_accuracy,
    whole_conversations,
)
from archroute_evaluation.metrics.outcome import Failure
from archroute_evaluation.metrics.proportion import Proportion
from support.outcomes import outcome

# One conversation: expected a a b a, answered a a b b. Spans aa (right), b (right), a (wrong).
SWITCHING = [
    outcome("a", "a", line=1, turns=1, conversation="x"),
    outcome("a", "a", line=2, turns=2, conversation="x"),
    outcome("b", "b", line=3, turns=3, conversation="x"),
    outcome("a", "b", line=4, turns=4, conversation="x"),
]
# Another: b b, answered b a. Its one span is wrong.
STAYING = [
    outcome("b", "b", line=5, turns=1, conversation="y"),
    outcome("b", "a", line=6, turns=2, conversation="y"),
]
ALONE = [outcome("c", "c", line=7), outcome("c", "a", line=8)]
EVERYTHING = [*SWITCHING, *STAYING, *ALONE]


def test_turns_spans_and_conversations_by_hand() -> None:
    conversations = whole_conversations(EVERYTHING)
    assert turn_accuracy(EVERYTHING) == Proportion(5, 8)
    # aa, b, a | bb | c | c
    assert span_accuracy(conversations) == Proportion(3, 6)
    # x and y are wrong somewhere; of those by themselves one is right.
    assert conversation_accuracy(conversations) == Proportion(1, 4)


def test_turns_are_put_in_order_wherever_they_stand() -> None:
    conversations = whole_conversations(reversed(EVERYTHING))
    assert sorted(conversations, key=lambda turns: turns[0].line) == whole_conversations(EVERYTHING)


def test_turns_of_equal_length_are_in_the_order_of_their_lines() -> None:
    turns = [outcome("a", "a", line=line, turns=1, conversation="x") for line in (3, 1, 2)]
    assert [turn.line for turn in whole_conversations(turns)[0]] == [1, 2, 3]


def test_a_conversation_with_a_failed_turn_is_left_out() -> None:
    failed = Failure(line=9, status="UNAVAILABLE", reason="", conversation="x")
    by_itself = Failure(line=10, status="UNAVAILABLE", reason="")
    conversations = whole_conversations(EVERYTHING, [failed, by_itself])
    assert [[turn.line for turn in turns] for turns in conversations] == [[5, 6], [7], [8]]


def test_nothing_is_nothing() -> None:
    assert turn_accuracy([]) == span_accuracy([]) == conversation_accuracy([]) == Proportion(0, 0)
