from archroute_evaluation.metrics.confusion import Confusion, worst_confusions
from support.outcomes import outcome


def test_the_worst_pairs_come_first() -> None:
    outcomes = [
        outcome("a", "a"),
        outcome("a", "b"),
        outcome("a", "b"),
        outcome("b", "other"),
        outcome("b", "a"),
        outcome("b", "b"),
    ]
    assert worst_confusions(outcomes) == [
        Confusion("a", "b", 2, 3),
        Confusion("b", "a", 1, 3),
        Confusion("b", "other", 1, 3),
    ]
    assert len(worst_confusions(outcomes, limit=1)) == 1
