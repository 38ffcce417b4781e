import pytest

from archroute_evaluation.metrics.breakdown import MAX_TAG_VALUES, breakdowns
from archroute_evaluation.metrics.outcome import Outcome
from support.outcomes import outcome


def groups(outcomes: list[Outcome], title: str) -> dict[str, tuple[int, int]]:
    (found,) = [each for each in breakdowns(outcomes) if each.title == title]
    return {group.label: (group.accuracy.hits, group.accuracy.total) for group in found.groups}


@pytest.mark.parametrize(
    ("policies", "label"),
    [
        (1, "1 to 2"), (2, "1 to 2"), (3, "3 to 5"), (10, "6 to 10"), (11, "11 to 20"), (40, "21 to 40"),
        (41, "41 and more"), (500, "41 and more"),
    ],
)  # fmt: skip
def test_policies_are_grouped_in_ranges(policies: int, label: str) -> None:
    assert groups([outcome("a", "a", policies=policies)], "policies") == {label: (1, 1)}


def test_groups_are_in_the_order_of_what_they_count() -> None:
    outcomes = [outcome("a", "a", policies=count) for count in (30, 4, 8, 15, 1)]
    assert list(groups(outcomes, "policies")) == ["1 to 2", "3 to 5", "6 to 10", "11 to 20", "21 to 40"]
    outcomes = [outcome("a", "a", turns=turns) for turns in (7, 2, 5, 1)]
    assert groups(outcomes, "turns of the user") == {"1": (1, 1), "2": (1, 1), "5 and more": (2, 2)}


def test_right_answers_are_counted_by_language_and_tag() -> None:
    outcomes = [
        outcome("a", "a", language="en", source="clinc", conversation="1"),
        outcome("a", "b", language="en", source="sgd", conversation="2"),
        outcome("a", "b", source="sgd", conversation="2"),
        outcome("a", "a"),
    ]
    assert groups(outcomes, "language") == {"en": (1, 2), "unknown": (1, 2)}
    assert groups(outcomes, "source") == {"clinc": (1, 1), "sgd": (0, 2)}
    assert "conversation" not in {each.title for each in breakdowns(outcomes)}


def test_a_tag_that_names_the_examples_is_no_group() -> None:
    outcomes = [outcome("a", "a", id=str(index)) for index in range(MAX_TAG_VALUES + 1)]
    assert "id" not in {each.title for each in breakdowns(outcomes)}
    assert "id" in {each.title for each in breakdowns(outcomes[1:])}
