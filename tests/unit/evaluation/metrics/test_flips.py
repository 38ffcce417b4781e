from archroute_evaluation.metrics.flips import flips
from archroute_evaluation.metrics.proportion import Proportion


def test_an_example_flips_once_however_often_its_answer_changes() -> None:
    first = {1: "a", 2: "a", 3: "b"}
    further = [(1, "a"), (1, "b"), (2, "b"), (2, "c"), (3, "b"), (3, "b")]
    found = flips(first, further, failed=4)
    assert found.examples == Proportion(2, 3)
    assert found.answers == Proportion(3, 6)
    assert found.failed == 4


def test_lines_without_a_first_answer_are_left_out() -> None:
    found = flips({1: "a"}, [(1, "a"), (2, "b")])
    assert (found.examples, found.answers) == (Proportion(0, 1), Proportion(0, 1))
