"""Each strategy against an environment that is known, by counts at a fixed seed."""

import random
from collections import Counter

import pytest

from archroute import Model, Needs
from archroute.selection import Price, Rewards
from archroute.selection.latencies import Latencies
from archroute.selection.strategies import Choice
from archroute.selection.strategies.bandit import bandit
from archroute.selection.strategies.cheapest import cheapest
from archroute.selection.strategies.fastest import fastest

MODELS = (Model("a"), Model("b"), Model("c"))
CHOICE = Choice(MODELS, "code", "session")
MEANS = {"a": 0.3, "b": 0.7, "c": 0.5}


def names(models: tuple[Model, ...]) -> str:
    return "".join(model.name for model in models)


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        # Much to read and little to say, and the other way round.
        (Needs(input_tokens=10_000, output_tokens=10), "wrpf"),
        (Needs(input_tokens=10, output_tokens=10_000), "rwpf"),
    ],
)
def test_the_cheapest_depends_on_reading_and_writing(needs: Needs, order: str) -> None:
    models = (
        Model("f"),
        Model("w", price=Price(input=1, output=10)),
        Model("r", price=Price(input=5, output=2)),
        Model("p", price=Price(input=50, output=50)),
    )
    assert names(cheapest(Choice(models, "code", "session", needs))) == order


def test_without_reports_the_order_of_the_policy_stands() -> None:
    assert fastest(CHOICE, {}, random.Random(0), exploration=0) == MODELS


def test_models_without_a_report_come_after_those_with_one() -> None:
    assert names(fastest(CHOICE, {"c": 0.5, "b": 0.7}, random.Random(0), exploration=0)) == "cba"


def test_the_fastest_is_found_and_found_again_when_it_changes() -> None:
    rng, latencies = random.Random(1), Latencies()
    seconds = {"a": 0.3, "b": 0.2, "c": 0.9}
    picked: list[str] = []
    for turn in range(6_000):
        if turn == 2_000:
            seconds["c"] = 0.1
        name = fastest(CHOICE, latencies.averages(), rng, exploration=0.05)[0].name
        latencies.add(name, rng.expovariate(1 / seconds[name]) * 0.1 + seconds[name])
        picked.append(name)
    # Nineteen of twenty calls exploit; the rest of each phase is given for finding out.
    assert Counter(picked[1_000:2_000])["b"] > 900
    assert Counter(picked[5_000:])["c"] > 900


def play(rounds: int, *, seed: int, exploration: float) -> list[str]:
    """The models that the bandit plays where the mean rewards are `MEANS`."""
    rng, environment = random.Random(seed), random.Random(seed + 1)
    rewards: dict[str, Rewards] = {}
    played = []
    for _ in range(rounds):
        name = bandit(CHOICE, rewards, rng, exploration)[0].name
        reward = float(environment.random() < MEANS[name])
        rewards[name] = rewards.get(name, Rewards()).plus(reward)
        played.append(name)
    return played


def regret(played: list[str]) -> float:
    """The mean reward that was missed by not always playing the best."""
    return sum(max(MEANS.values()) - MEANS[name] for name in played)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_regret_of_the_bandit_grows_slower_than_the_rounds(seed: int) -> None:
    played = play(8_000, seed=seed, exploration=0)
    halves = [regret(played[:500]), regret(played[:2_000]), regret(played)]
    # Each is of four times as many rounds. Were the regret linear, it would be four times as high.
    assert halves[1] < 2 * halves[0]
    assert halves[2] < 2 * halves[1]
    # Always playing any one of the models but the best, or a random one, costs thirty times as much or more.
    assert regret(played) < 8_000 * 0.2 / 30


def test_the_floor_of_exploration_keeps_trying_every_model() -> None:
    played = Counter(play(6_000, seed=0, exploration=0.1)[3_000:])
    # A tenth of the plays, split by three.
    for name in MEANS:
        assert played[name] >= 70
    assert played["b"] > 2_700


def test_the_bandit_is_the_same_at_the_same_seed() -> None:
    assert play(200, seed=5, exploration=0.1) == play(200, seed=5, exploration=0.1)
    assert play(200, seed=5, exploration=0.1) != play(200, seed=6, exploration=0.1)


def test_a_reward_may_be_a_fraction() -> None:
    assert Rewards(1, 1).plus(0.25) == Rewards(1.25, 1.75)
