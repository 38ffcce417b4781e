import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archroute_server.router.decision import Outcome, Ranked, at_temperature, decide
from archroute_server.router.policy import OTHER, Policy, PolicySet
from archroute_server.router.trie import AnswerTrie

END = 9
POLICIES = PolicySet(
    "test",
    (
        Policy("code_generation", "New code", ("large", "small")),
        Policy("code_review", "Existing code", ("large",)),
        Policy("summarization", "Summaries", ("small",)),
    ),
)
# Root: code (1) -> branch 1, summarization (2), other (3). Branch 1: generation (4), review (5).
TRIE = AnswerTrie(
    ["code_generation", "code_review", "summarization", OTHER],
    [(0, 1, 4, END), (0, 1, 5, END), (0, 2, END), (0, 3, END)],
)


def logs(*probabilities: float) -> list[float]:
    return [math.log(probability) if probability else -math.inf for probability in probabilities]


def test_a_match_names_the_policy_its_models_and_its_probability() -> None:
    decision = decide(TRIE, [logs(0.8, 0.15, 0.05), logs(0.25, 0.75)], POLICIES)
    assert decision.outcome is Outcome.MATCHED
    assert decision.policy == "code_review"
    assert decision.models == ("large",)
    assert decision.probability == pytest.approx(0.6)
    assert [ranked.policy for ranked in decision.ranking] == [
        "code_review", "code_generation", "summarization", OTHER,
    ]  # fmt: skip
    assert [ranked.probability for ranked in decision.ranking] == pytest.approx([0.6, 0.2, 0.15, 0.05])


def test_other_names_no_policy() -> None:
    decision = decide(TRIE, [logs(0.1, 0.2, 0.7), logs(0.5, 0.5)], POLICIES)
    assert decision.outcome is Outcome.OTHER
    assert (decision.policy, decision.models) == (None, ())
    assert decision.probability == pytest.approx(0.7)
    assert decision.ranking[0].policy == OTHER


def test_the_greedy_choice_need_not_lead_the_ranking() -> None:
    decision = decide(TRIE, [logs(0.5, 0.4, 0.1), logs(0.5, 0.5)], POLICIES)
    assert decision.policy == "code_generation"
    assert decision.probability == pytest.approx(0.25)
    assert decision.ranking[0].policy == "summarization"
    assert decision.ranking[0].probability == pytest.approx(0.4)


@pytest.mark.parametrize(("root", "sure"), [((0.6, 0.3, 0.1), "code"), ((0.2, 0.2, 0.6), OTHER)])
def test_below_the_wanted_probability_no_policy_is_named(root: tuple[float, ...], sure: str) -> None:
    rows = [logs(*root), logs(1.0, 0.0)]
    decision = decide(TRIE, rows, POLICIES, min_probability=0.61)
    assert decision.outcome is Outcome.LOW_CONFIDENCE
    assert (decision.policy, decision.models) == (None, ())
    assert decision.probability == pytest.approx(0.6)
    assert decision.ranking == decide(TRIE, rows, POLICIES).ranking
    assert decision.ranking[0].policy.startswith(sure)


def test_exactly_the_wanted_probability_is_enough() -> None:
    rows = [logs(0.0, 1.0, 0.0), logs(0.5, 0.5)]
    assert decide(TRIE, rows, POLICIES, min_probability=1.0).outcome is Outcome.MATCHED


def test_ties_go_to_the_lowest_token_and_rank_in_declaration_order() -> None:
    third = 1 / 3
    decision = decide(TRIE, [logs(third, third, third), logs(1.0, 0.0)], POLICIES)
    assert decision.policy == "code_generation"
    assert [ranked.policy for ranked in decision.ranking] == [
        "code_generation", "summarization", OTHER, "code_review",
    ]  # fmt: skip
    # The tokens of the answers stand in another order than the policies.
    swapped = AnswerTrie(["code_generation", "code_review", "summarization", OTHER], [(4,), (3,), (2,), (1,)])
    decision = decide(swapped, [logs(0.25, 0.25, 0.25, 0.25)], POLICIES)
    assert decision.outcome is Outcome.OTHER
    assert [ranked.policy for ranked in decision.ranking] == [*swapped.answers]


def test_branches_where_the_model_was_not_run_leave_their_answers_out() -> None:
    decision = decide(TRIE, [logs(0.2, 0.5, 0.3), None], POLICIES)
    assert decision.policy == "summarization"
    assert [ranked.policy for ranked in decision.ranking] == ["summarization", OTHER]
    assert [ranked.probability for ranked in decision.ranking] == pytest.approx([0.5, 0.3])


def test_what_lies_below_a_branch_without_a_row_is_left_out_too() -> None:
    deep = AnswerTrie(
        ["code_generation", "code_review", "summarization", OTHER],
        [(1, 1, 1, END), (1, 1, 2, END), (1, 2, END), (2, END)],
    )
    decision = decide(deep, [logs(0.4, 0.6), None, logs(0.5, 0.5)], POLICIES)
    assert decision.outcome is Outcome.OTHER
    assert [ranked.policy for ranked in decision.ranking] == [OTHER]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([logs(0.5, 0.3, 0.2), None], "branch 1 is on the way to the greedy answer, but has no row"),
        ([None, logs(0.5, 0.5)], "branch 0 is on the way to the greedy answer, but has no row"),
        ([logs(0.5, 0.3, 0.2)], "2 branches need as many rows, not 1"),
        ([logs(0.5, 0.5), logs(0.5, 0.5)], "branch 0 has 3 edges, but its row has 2 values"),
        ([logs(0.5, 0.3, 0.2), [math.nan, 0.0]], "branch 1: the model's log probabilities hold a NaN"),
    ],
)
def test_numbers_that_do_not_fit_the_tree_are_refused(rows: list[list[float] | None], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decide(TRIE, rows, POLICIES)


def test_a_temperature_divides_the_logits_of_each_branch() -> None:
    # 0.8 : 0.15 : 0.05 with the square root taken of each, and 0.25 : 0.75 likewise.
    decision = decide(TRIE, [logs(0.8, 0.15, 0.05), logs(0.25, 0.75)], POLICIES, temperature=2.0)
    root = [math.sqrt(value) for value in (0.8, 0.15, 0.05)]
    below = [math.sqrt(value) for value in (0.25, 0.75)]
    code, review = root[0] / sum(root), below[1] / sum(below)
    assert decision.policy == "code_review"
    assert decision.probability == pytest.approx(code * review)
    ranking = {ranked.policy: ranked.probability for ranked in decision.ranking}
    assert ranking["code_generation"] == pytest.approx(code * (1 - review))
    assert ranking["summarization"] == pytest.approx(root[1] / sum(root))
    assert sum(ranking.values()) == pytest.approx(1.0)


def test_a_temperature_can_turn_the_ranking_but_not_the_choice() -> None:
    rows = [logs(0.7, 0.3, 0.0), logs(0.55, 0.45)]
    cold, hot = decide(TRIE, rows, POLICIES), decide(TRIE, rows, POLICIES, temperature=4.0)
    assert cold.policy == hot.policy == "code_generation"
    assert (cold.ranking[0].policy, hot.ranking[0].policy) == ("code_generation", "summarization")


def test_the_minimum_is_compared_with_the_calibrated_probability() -> None:
    rows = [logs(0.9, 0.06, 0.04), logs(0.05, 0.95)]
    assert decide(TRIE, rows, POLICIES, 0.8).outcome is Outcome.MATCHED
    assert decide(TRIE, rows, POLICIES, 0.8, temperature=3.0).outcome is Outcome.LOW_CONFIDENCE


def test_a_branch_that_the_model_was_not_run_at_stays_unknown() -> None:
    assert at_temperature([logs(0.5, 0.5), None], 2.0)[1] is None


@given(
    row=st.lists(st.floats(-1e4, 0), min_size=2, max_size=8),
    temperature=st.floats(0.05, 20),
)
def test_a_temperature_keeps_the_order_and_the_sum(row: list[float], temperature: float) -> None:
    assume(temperature != 1.0)
    (softened,) = at_temperature([row], temperature)
    assert softened is not None
    assert at_temperature([row], 1.0) == [row]
    assert sum(map(math.exp, softened)) == pytest.approx(1.0)
    order = sorted(range(len(row)), key=row.__getitem__)
    ordered = [softened[index] for index in order]
    assert ordered == sorted(ordered)


@given(data=st.data(), temperature=st.floats(0.05, 20))
def test_no_temperature_changes_the_choice(data: st.DataObject, temperature: float) -> None:
    trie, rows, policies = data.draw(decided_tries())
    plain, tempered = (decide(trie, rows, policies, temperature=each) for each in (1.0, temperature))
    assert (plain.policy, plain.outcome) == (tempered.policy, tempered.outcome)
    assert sum(ranked.probability for ranked in tempered.ranking) == pytest.approx(1.0)


@st.composite
def decided_tries(
    draw: st.DrawFn,
) -> tuple[AnswerTrie, list[list[float]], PolicySet]:
    """A trie, log probabilities at its branches, and the policies that it is of."""
    sequences = draw(
        st.lists(
            st.lists(st.integers(0, 3), max_size=6).map(lambda tokens: (*tokens, END)),
            min_size=2,
            max_size=16,
            unique=True,
        )
    )
    names = [f"policy_{index}" for index in range(len(sequences) - 1)]
    trie = AnswerTrie([*names, OTHER], sequences)
    rows = []
    for branch in trie.branches:
        width = len(branch.edges)
        logits = draw(st.lists(st.floats(-80, 80), min_size=width, max_size=width))
        largest = max(logits)
        total = largest + math.log(sum(math.exp(logit - largest) for logit in logits))
        rows.append([logit - total for logit in logits])
    return trie, rows, PolicySet("", tuple(Policy(name, "What it covers", (name,)) for name in names))


@given(decided_tries())
def test_the_probabilities_of_all_answers_sum_to_one(
    case: tuple[AnswerTrie, list[list[float]], PolicySet],
) -> None:
    trie, rows, policies = case
    decision = decide(trie, rows, policies)

    probabilities = [ranked.probability for ranked in decision.ranking]
    assert sum(probabilities) == pytest.approx(1.0)
    assert probabilities == sorted(probabilities, reverse=True)
    assert {ranked.policy for ranked in decision.ranking} == set(trie.answers)
    # The step-by-step walk, taking the likeliest token where there is a choice, ends in the same answer.
    node, index = trie.root, 0
    while not trie.is_terminal(node):
        allowed = trie.allowed(node)
        token = allowed[0]
        if len(allowed) > 1:
            token = allowed[rows[index].index(max(rows[index]))]
            edge = next(edge for edge in trie.branches[index].edges if edge.token == token)
            index = edge.branch if edge.branch is not None else index
        node = trie.advance(node, token)
    chosen = trie.answers[trie.answer(node)]
    assert decision.policy == (None if chosen == OTHER else chosen)
    assert decision.models == (() if chosen == OTHER else (chosen,))
    assert Ranked(chosen, decision.probability) in decision.ranking
