"""Rewards in Redis, which the processes of many machines may share. Needs the extra `redis`.

Each policy has a hash, `archroute:rewards:<policy>`, with two fields for each model: `gained:<model>` and
`missed:<model>`, the sums of `archroute.selection.rewards.Rewards`. Redis adds to them itself, so that no
reward gets lost between two processes, and adds to both in one transaction.

What is chosen by is a copy, which a thread of its own brings up to date: no selection waits for Redis.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "archroute.selection.rewards_redis needs the 'redis' extra: pip install 'archroute[redis]' "
        f"(there is no module {error.name!r})",
        name=error.name,
    ) from error

from archroute.selection.rewards import Rewards

__all__ = ["RedisRewards"]

_GAINED, _MISSED = "gained:", "missed:"

# Seconds that Redis may take to connect and to answer, if the client is made here.
_PATIENCE = 1.0


@dataclass
class _Copy:
    """What is known of one policy's rewards."""

    rewards: Mapping[str, Rewards] | None = None
    """None until they were read for the first time."""

    failure: Exception | None = None
    """Why the last reading failed, if it did."""

    read_at: float = -math.inf
    reading: bool = False


class RedisRewards:
    """Keeps rewards in Redis. Thread-safe."""

    def __init__(
        self,
        client: "redis.Redis",
        *,
        prefix: str = "archroute:rewards:",
        refresh: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads nothing yet.

        Args:
            client: Of the official package. Its retries should be off, as a reward whose answer was lost
                would be added twice, and its timeouts short: `from_url` makes one like that.
            prefix: What the names of the hashes begin with.
            refresh: Seconds after which the copy of a policy's rewards is brought up to date.
            clock: Seconds, of any clock that does not go back.
        """
        self._client = client
        self._prefix = prefix
        self._seconds = refresh
        self._clock = clock
        self._lock = threading.Lock()
        self._copies: dict[str, _Copy] = {}

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Rewards in the Redis of a URL, such as `redis://localhost:6379/0`.

        Args:
            url: As `redis.Redis.from_url` takes it.
            options: As for `RedisRewards`.

        Raises:
            ValueError: It is no such URL.
        """
        client = redis.Redis.from_url(
            url,
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )
        return cls(client, **options)

    def of(self, policy: str) -> Mapping[str, Rewards]:
        """The rewards of a policy's models as they were a moment ago; none before they were first read.

        Does not wait: if they are older than `refresh` seconds, a thread reads them again.

        Raises:
            OSError: They could not be read until now.
            ValueError: Likewise, because the hash holds something else.
        """
        now = self._clock()
        with self._lock:
            copy = self._copies.setdefault(policy, _Copy())
            due = not copy.reading and now - copy.read_at >= self._seconds
            copy.reading = copy.reading or due
            rewards, failure = copy.rewards, copy.failure
        if due:
            threading.Thread(
                target=self._read_quietly, args=(policy,), name="archroute-rewards", daemon=True
            ).start()
        if rewards is not None:
            return rewards
        if failure is not None:
            raise failure
        return {}

    def refresh(self, policy: str) -> Mapping[str, Rewards]:
        """Reads the rewards of a policy's models, and waits for them: for a start that should know them.

        Raises:
            OSError: Redis does not answer.
            ValueError: The hash holds something else.
        """
        try:
            rewards = self._read(policy)
        except (OSError, ValueError) as error:
            self._keep(policy, None, error)
            raise
        self._keep(policy, rewards, None)
        return rewards

    def add(self, policy: str, model: str, reward: float) -> None:
        """Adds one reward, and returns when Redis has it.

        Raises:
            OSError: Redis does not answer, or refuses. It may have the reward all the same, if it was its
                answer that got lost.
        """
        changes = self._client.pipeline(transaction=True)
        changes.hincrbyfloat(self._prefix + policy, _GAINED + model, reward)
        changes.hincrbyfloat(self._prefix + policy, _MISSED + model, 1.0 - reward)
        try:
            gained, missed = changes.execute()
        except redis.RedisError as error:
            raise OSError(f"a reward cannot be kept in Redis: {error}") from error
        with self._lock:
            copy = self._copies.setdefault(policy, _Copy())
            if copy.rewards is not None:
                copy.rewards = {**copy.rewards, model: Rewards(float(gained), float(missed))}

    def _read_quietly(self, policy: str) -> None:
        # Who asks next is told of the failure, if nothing is known at all.
        with contextlib.suppress(OSError, ValueError):
            self.refresh(policy)

    def _keep(self, policy: str, rewards: Mapping[str, Rewards] | None, failure: Exception | None) -> None:
        with self._lock:
            copy = self._copies.setdefault(policy, _Copy())
            # What was known is better than nothing.
            copy.rewards = copy.rewards if rewards is None else rewards
            copy.failure = failure
            copy.read_at, copy.reading = self._clock(), False

    def _read(self, policy: str) -> Mapping[str, Rewards]:
        key = self._prefix + policy
        try:
            fields: Any = self._client.hgetall(key)
        except redis.RedisError as error:
            raise OSError(f"rewards cannot be read from Redis: {error}") from error
        try:
            return _rewards({_text(field): float(value) for field, value in fields.items()})
        except ValueError:
            raise ValueError(f"the hash {key!r} in Redis holds no rewards; remove it to start anew") from None


def _rewards(sums: Mapping[str, float]) -> Mapping[str, Rewards]:
    """The rewards by model, of sums by field. Raises ValueError if they are none."""
    if not all(0 <= value < math.inf for value in sums.values()):
        raise ValueError("a sum of rewards is below 0 or no number")
    names = set()
    for field in sums:
        kind, colon, name = field.partition(":")
        if kind + colon not in (_GAINED, _MISSED):
            raise ValueError("a field is neither of the two")
        names.add(name)
    return {name: Rewards(sums.get(_GAINED + name, 0.0), sums.get(_MISSED + name, 0.0)) for name in names}


def _text(value: str | bytes) -> str:
    # A client answers in the one or the other, as it was made.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
