from pathlib import Path

import pytest

from archroute import Strategy
from strategies import AFTER, BEFORE, MODELS, WEIGHTS, play, plot, regret_of, simulate, table

ROUNDS = 200


def test_the_best_by_a_measure_has_no_regret() -> None:
    best = {"reward": "large", "seconds": "small", "price": "small"}
    for measure, name in best.items():
        for model in MODELS:
            regret = regret_of(model, BEFORE)[measure]
            assert (regret == 0) == (model.name == name)
            assert regret >= 0


def test_a_strategy_that_learns_nothing_has_the_regret_of_its_choice() -> None:
    half = ROUNDS // 2
    ranked = play(Strategy.RANKED, rounds=ROUNDS, seed=0)
    [large] = [model for model in MODELS if model.name == "large"]
    for measure, sums in ranked.items():
        before, after = regret_of(large, BEFORE)[measure], regret_of(large, AFTER)[measure]
        assert sums[half - 1] == pytest.approx(half * before)
        assert sums[-1] == pytest.approx(half * (before + after))
    assert set(play(Strategy.CHEAPEST, rounds=ROUNDS, seed=0)["price"]) == {0.0}


def test_a_split_has_the_regret_of_its_shares() -> None:
    rounds = 2_000
    shares = {name: weight / sum(WEIGHTS.values()) for name, weight in WEIGHTS.items()}
    expected = sum(
        shares[model.name] * rounds / 2 * regret_of(model, truths)["reward"]
        for model in MODELS
        for truths in (BEFORE, AFTER)
    )
    assert play(Strategy.WEIGHTED, rounds=rounds, seed=0)["reward"][-1] == pytest.approx(expected, rel=0.1)


def test_the_same_seeds_give_the_same_figures(tmp_path: Path) -> None:
    first, second = (simulate(ROUNDS, range(2)) for _ in range(2))
    assert first == second
    assert first.keys() == set(Strategy)
    bandit = first[Strategy.BANDIT]
    assert bandit[0] != bandit[1]
    text = table(first)
    assert [line.split("`")[1] for line in text.splitlines()[2:]] == [each.value for each in Strategy]
    plot(first, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
