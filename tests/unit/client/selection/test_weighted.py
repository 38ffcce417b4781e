import math
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archroute import Model
from archroute.selection.strategies import Choice
from archroute.selection.strategies.weighted import weighted

KEYS = 100_000


def chosen(weights: Mapping[str, float], key: str, salt: str = "experiment") -> str:
    models = tuple(Model(name) for name in weights)
    return weighted(Choice(models, "code", key, weights=weights, salt=salt))[0].name


def split(weights: Mapping[str, float]) -> list[str]:
    return [chosen(weights, f"session-{number}") for number in range(KEYS)]


@pytest.fixture(scope="module")
def canary() -> list[str]:
    return split({"old": 95, "new": 5})


def test_the_shares_are_the_weights_within_one_percent_of_the_keys() -> None:
    weights = {"a": 50, "b": 30, "c": 15, "d": 5, "e": 0}
    counts = Counter(split(weights))
    for name, weight in weights.items():
        assert abs(counts[name] - KEYS * weight / 100) < 0.01 * KEYS
    assert not counts["e"]


def test_a_canary_that_grows_only_gains(canary: list[str]) -> None:
    half, whole = split({"old": 50, "new": 50}), split({"old": 0, "new": 100})
    assert abs(canary.count("new") - 0.05 * KEYS) < 0.01 * KEYS
    assert abs(half.count("new") - 0.50 * KEYS) < 0.01 * KEYS
    assert whole.count("new") == KEYS
    assert all(after == "new" for before, after in zip(canary, half, strict=True) if before == "new")


def test_a_model_that_is_added_takes_only_its_share(canary: list[str]) -> None:
    after = split({"old": 95, "new": 5, "newer": 100})
    moved = [to for before, to in zip(canary, after, strict=True) if before != to]
    assert set(moved) == {"newer"}
    assert abs(len(moved) - 0.5 * KEYS) < 0.01 * KEYS


def test_two_experiments_split_independently() -> None:
    weights = {"a": 1, "b": 1}
    keys = [f"session-{number}" for number in range(10_000)]
    same = sum(chosen(weights, key, "one") == chosen(weights, key, "two") for key in keys)
    assert abs(same - 5_000) < 300


@given(
    weights=st.dictionaries(st.text(max_size=5), st.floats(0, 1e6), min_size=2, max_size=6),
    key=st.text(),
    data=st.data(),
)
def test_without_the_winner_the_next_one_wins(
    weights: dict[str, float], key: str, data: st.DataObject
) -> None:
    models = tuple(Model(name or "-") for name in weights)
    choice = Choice(models, "code", key, weights=weights, salt="")
    order = weighted(choice)
    assert set(order) == set(models)
    removed = data.draw(st.sampled_from(order))
    rest = tuple(model for model in models if model is not removed)
    expected = tuple(model for model in order if model is not removed)
    assert weighted(Choice(rest, "code", key, weights=weights)) == expected


def test_the_split_is_the_same_on_every_machine() -> None:
    weights = {"a": 1.0, "b": math.e}
    assert [chosen(weights, str(number)) for number in range(12)] == list("baabbabbabba")
