"""Puts a policy's models into the order in which to try them, by the strategy that the model map names."""

import random

from archroute.selection.counters import Counters
from archroute.selection.latencies import Latencies
from archroute.selection.model import Model
from archroute.selection.model_map import ModelMap
from archroute.selection.needs import Needs
from archroute.selection.rewards import RewardStore
from archroute.selection.strategies.bandit import bandit
from archroute.selection.strategies.cheapest import cheapest
from archroute.selection.strategies.choice import Choice
from archroute.selection.strategies.fastest import fastest
from archroute.selection.strategies.strategy import Strategy
from archroute.selection.strategies.weighted import weighted

__all__ = ["Chooser"]


class Chooser:
    """The strategies, with what they learn from. Not thread-safe, for its random numbers."""

    def __init__(
        self,
        rewards: RewardStore,
        counters: Counters,
        *,
        exploration: float,
        rng: random.Random,
    ) -> None:
        self._rewards = rewards
        self._latencies = Latencies()
        self._counters = counters
        self._exploration = exploration
        self._rng = rng

    def order(
        self, model_map: ModelMap, policy: str, models: tuple[Model, ...], key: str, needs: Needs
    ) -> tuple[Model, ...]:
        """The models, at least one, as they should be tried."""
        entry = model_map.entry(policy)
        salt = entry.experiment or policy
        choice = Choice(models, policy, key, needs, entry.weights, salt)
        match model_map.strategy_of(policy):
            case Strategy.RANKED:
                return models
            case Strategy.WEIGHTED:
                return weighted(choice)
            case Strategy.CHEAPEST:
                return cheapest(choice)
            case Strategy.FASTEST:
                return fastest(choice, self._latencies.averages(), self._rng, self._exploration)
            case Strategy.BANDIT:
                return self._by_rewards(choice)

    def learn(self, policy: str | None, model: str, reward: float | None, latency: float | None) -> None:
        """Takes in how a model did, under a policy or, without one, as a default. May be called at any
        time."""
        if latency is not None:
            self._latencies.add(model, latency)
        # A default model was not chosen among others, so its reward says nothing about such a choice.
        if reward is not None and policy is not None:
            try:
                self._rewards.add(policy, model, reward)
            except (OSError, ValueError):
                self._counters.reward_failed()

    def _by_rewards(self, choice: Choice) -> tuple[Model, ...]:
        try:
            rewards = self._rewards.of(choice.policy)
        except (OSError, ValueError):
            # Without what was learnt, every model is as good as the others, which is no reason to fail.
            self._counters.reward_failed()
            rewards = {}
        return bandit(choice, rewards, self._rng, self._exploration)
