from archroute_evaluation.metrics.evaluation import FailureCount, evaluate
from archroute_evaluation.metrics.outcome import Failure
from archroute_evaluation.metrics.proportion import Proportion
from support.outcomes import outcome

FAILURES = [
    Failure(3, "UNAVAILABLE", "SERVER_STOPPING", "x"),
    Failure(4, "DEADLINE_EXCEEDED", ""),
    Failure(5, "UNAVAILABLE", "SERVER_STOPPING"),
]


def test_failed_requests_are_counted_and_take_no_part() -> None:
    outcomes = [outcome("a", "a", line=1, conversation="x"), outcome("other", "a", line=2)]
    found = evaluate(outcomes, FAILURES, other="other")
    assert (found.examples, found.answered) == (5, 2)
    assert found.turn_accuracy == Proportion(1, 2)
    assert found.conversation_accuracy == Proportion(0, 1)
    assert found.failures == (
        FailureCount("DEADLINE_EXCEEDED", "", (4,)),
        FailureCount("UNAVAILABLE", "SERVER_STOPPING", (3, 5)),
    )
    assert found.other.recall == Proportion(0, 1)
    # What a gate looks at: a request that failed was not answered right.
    assert found.accuracy_with_failures == Proportion(1, 5)


def test_what_was_not_measured_is_not_there() -> None:
    found = evaluate([outcome("a", "a")], other="other")
    assert found.order_flips is None
    assert found.rewording_flips is None
