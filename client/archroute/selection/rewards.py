"""What models earned, and where that is kept."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["MemoryRewards", "RewardStore", "Rewards"]


@dataclass(frozen=True, slots=True)
class Rewards:
    """The rewards of one model under one policy, each from 0 to 1."""

    gained: float = 0.0
    """Their sum."""

    missed: float = 0.0
    """The sum of what each lacked to 1."""

    def plus(self, reward: float) -> "Rewards":
        """With one more."""
        return Rewards(self.gained + reward, self.missed + (1.0 - reward))


class RewardStore(Protocol):
    """Keeps rewards by policy and model. Must be thread-safe."""

    def of(self, policy: str) -> Mapping[str, Rewards]:
        """The rewards of a policy's models, by the model's name."""
        ...

    def add(self, policy: str, model: str, reward: float) -> None:
        """Adds one reward. May raise OSError if it cannot be kept."""
        ...


class MemoryRewards:
    """Keeps rewards for as long as the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rewards: dict[str, dict[str, Rewards]] = {}

    def of(self, policy: str) -> Mapping[str, Rewards]:
        """The rewards of a policy's models, by the model's name."""
        with self._lock:
            return dict(self._rewards.get(policy, {}))

    def add(self, policy: str, model: str, reward: float) -> None:
        """Adds one reward."""
        with self._lock:
            models = self._rewards.setdefault(policy, {})
            models[model] = models.get(model, Rewards()).plus(reward)
