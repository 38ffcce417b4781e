"""Rewards in Redis: in an imitation of it, and in a real one where that is installed."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

from archroute import ModelMap, Selector, Strategy
from archroute.selection.rewards import Rewards
from archroute.selection.rewards_redis import RedisRewards
from archroute.testing import FakeRouter, decision
from support.fake_clock import FakeClock
from support.redis_server import HOW_TO_GET_IT, installed, redis_server, stop

PROCESSES, EACH = 4, 25

needs_redis = pytest.mark.skipif(not installed(), reason=HOW_TO_GET_IT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a real one."""
    with redis_server(tmp_path) as url:
        yield url


@pytest.fixture(params=["imitation", pytest.param("server", marks=needs_redis)])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., redis.Redis]]:
    """Makes clients of one database."""
    clients: list[redis.Redis] = []
    if request.param == "server":
        url = request.getfixturevalue("server")

        def make(**options: Any) -> redis.Redis:
            return redis.Redis.from_url(url, **options)

    else:
        database = fakeredis.FakeServer()

        def make(**options: Any) -> redis.Redis:
            return fakeredis.FakeRedis(server=database, **options)

    def connected(**options: Any) -> redis.Redis:
        clients.append(make(**options))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()


def test_rewards_outlive_the_process(connect: Any) -> None:
    first = RedisRewards(connect())
    assert first.refresh("code") == {}
    first.add("code", "a", 1.0)
    first.add("code", "a", 0.25)
    first.add("travel", "b:c", 0.0)
    second = RedisRewards(connect())
    assert second.refresh("code") == {"a": Rewards(1.25, 0.75)}
    assert second.refresh("travel") == {"b:c": Rewards(0.0, 1.0)}


@pytest.mark.parametrize("decoded", [False, True])
def test_a_client_may_decode(connect: Any, decoded: bool) -> None:
    rewards = RedisRewards(connect(decode_responses=decoded))
    rewards.add("Übersetzung", "modèle", 0.5)
    assert rewards.refresh("Übersetzung") == {"modèle": Rewards(0.5, 0.5)}


def test_the_hash_is_as_documented(connect: Any) -> None:
    client = connect(decode_responses=True)
    RedisRewards(client).add("code", "large-coder", 0.75)
    RedisRewards(client, prefix="mine:").add("code", "small-coder", 1.0)
    assert client.hgetall("archroute:rewards:code") == {
        "gained:large-coder": "0.75",
        "missed:large-coder": "0.25",
    }
    assert client.hgetall("mine:code") == {"gained:small-coder": "1", "missed:small-coder": "0"}


def test_one_s_own_reward_is_known_at_once(connect: Any) -> None:
    rewards = RedisRewards(connect(), refresh=1_000)
    rewards.refresh("code")
    for count in range(1, 4):
        rewards.add("code", "a", 1.0)
        assert rewards.of("code") == {"a": Rewards(count, 0.0)}


class Watched(RedisRewards):
    """Tells when a reading is over."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.read = threading.Semaphore(0)

    def _read_quietly(self, policy: str) -> None:
        super()._read_quietly(policy)
        self.read.release()


def test_what_another_one_adds_is_seen_after_a_while(connect: Any) -> None:
    clock = FakeClock()
    rewards = Watched(connect(), refresh=5, clock=clock)
    other = RedisRewards(connect())
    other.add("code", "a", 1.0)
    # The first question finds nothing, as it does not wait, and has it read.
    assert rewards.of("code") == {}
    rewards.read.acquire()
    assert rewards.of("code") == {"a": Rewards(1.0, 0.0)}
    other.add("code", "a", 1.0)
    clock.now += 4
    assert rewards.of("code") == {"a": Rewards(1.0, 0.0)}
    clock.now += 1
    assert rewards.of("code") == {"a": Rewards(1.0, 0.0)}
    rewards.read.acquire()
    assert rewards.of("code") == {"a": Rewards(2.0, 0.0)}


def test_one_reading_at_a_time() -> None:
    class Slow:
        """A client that answers when it is told to."""

        def __init__(self) -> None:
            self.asked = threading.Semaphore(0)
            self.told = threading.Event()
            self.calls = 0

        def hgetall(self, key: str) -> dict[str, str]:
            self.calls += 1
            self.asked.release()
            self.told.wait()
            return {"gained:a": "1", "missed:a": "0"}

    client = Slow()
    rewards = Watched(client, refresh=0)
    for _ in range(5):
        assert rewards.of("code") == {}
    client.asked.acquire()
    client.told.set()
    rewards.read.acquire()
    assert client.calls == 1
    assert rewards.of("code") == {"a": Rewards(1.0, 0.0)}
    rewards.read.acquire()


def test_what_is_no_rewards_is_refused_and_left_alone(connect: Any) -> None:
    client = connect()
    for field, value in (
        ("gained:a", "-1"),
        ("gained:a", "nan"),
        ("gained:a", "x"),
        ("name", "1"),
        ("a:b", "1"),
    ):
        client.delete("archroute:rewards:code")
        client.hset("archroute:rewards:code", field, value)
        rewards = Watched(client)
        with pytest.raises(ValueError, match=r"the hash 'archroute:rewards:code' in Redis holds no rewards"):
            rewards.refresh("code")
        with pytest.raises(ValueError, match="holds no rewards"):
            rewards.of("code")
        assert client.hgetall("archroute:rewards:code") == {field.encode(): value.encode()}
    client.delete("archroute:rewards:code")
    client.set("archroute:rewards:code", "text")
    with pytest.raises(OSError, match="cannot be read from Redis"):
        RedisRewards(client).refresh("code")
    with pytest.raises(OSError, match="cannot be kept in Redis"):
        RedisRewards(client).add("code", "a", 1.0)


def test_without_redis_what_was_known_is_gone_by() -> None:
    database = fakeredis.FakeServer()
    clock = FakeClock()
    rewards = Watched(fakeredis.FakeRedis(server=database), refresh=1, clock=clock)
    rewards.add("code", "a", 1.0)
    rewards.refresh("code")
    database.connected = False
    clock.now += 1
    assert rewards.of("code") == {"a": Rewards(1.0, 0.0)}
    rewards.read.acquire()
    assert rewards.of("code") == {"a": Rewards(1.0, 0.0)}
    with pytest.raises(OSError, match="cannot be kept in Redis"):
        rewards.add("code", "a", 1.0)
    # Nothing was ever known of another policy, and the next question says why.
    rewards.of("travel")
    rewards.read.acquire()
    with pytest.raises(OSError, match="cannot be read from Redis"):
        rewards.of("travel")
    database.connected = True
    clock.now += 1
    with pytest.raises(OSError, match="cannot be read from Redis"):
        rewards.of("travel")
    rewards.read.acquire()
    assert rewards.of("travel") == {}


def test_a_selection_and_a_report_do_without_redis() -> None:
    database = fakeredis.FakeServer()
    database.connected = False
    rewards = Watched(fakeredis.FakeRedis(server=database))
    selector = Selector(
        ModelMap("default", strategy=Strategy.BANDIT), rewards=rewards, stickiness=None, seed=1
    )
    router = FakeRouter(decision("code", models=("a", "b")), selector=selector)
    router.select("Hello")
    rewards.read.acquire()
    selection = router.select("Hello")
    router.report(selection, reward=1.0)
    assert selection.rule == "bandit"
    assert selector.counters.snapshot().reward_errors == 2


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisRewards.from_url("localhost:6379")


def add(url: str, model: str) -> None:
    rewards = RedisRewards.from_url(url)
    for _ in range(EACH):
        rewards.add("code", model, 1.0)
        rewards.add("code", "shared", 0.5)


@needs_redis
@pytest.mark.timeout(300)
def test_processes_at_once_lose_nothing(server: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add, args=(server, f"m{number}")) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = dict(RedisRewards.from_url(server).refresh("code"))
    assert found.pop("shared") == Rewards(PROCESSES * EACH * 0.5, PROCESSES * EACH * 0.5)
    assert found == {f"m{number}": Rewards(EACH, 0.0) for number in range(PROCESSES)}


@needs_redis
def test_a_server_that_dies(server: str) -> None:
    rewards = RedisRewards.from_url(server)
    rewards.add("code", "a", 1.0)
    stop(server)
    with pytest.raises(OSError, match="cannot be kept in Redis"):
        rewards.add("code", "a", 1.0)
    with pytest.raises(OSError, match="cannot be read from Redis"):
        rewards.refresh("code")
