"""`archroute.openai` against an HTTP server that misbehaves, from both twins."""

import asyncio
import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

import archroute
from archroute import Model, ModelMap, SelectionReason, Selector, Strategy
from archroute.openai import AsyncRoutedOpenAI, Routed, RoutedOpenAI
from archroute.selection import Provider, Rewards, RewardStore
from archroute.selection.rewards import MemoryRewards
from archroute.testing import FakeAsyncRouter, FakeRouter, decision
from support.fake_openai import (
    WORDS,
    Behaviour,
    FakeOpenAI,
    answer,
    break_off,
    chunk,
    fake_openai,
    hang,
    refuse,
    reset,
    say,
    stream,
)

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
CODE = decision("code", models=("first", "second"))
KEY = "ARCHROUTE_TEST_KEY"
# Long enough for this machine on its worst day: only a model that hangs may run into a timeout.
PATIENCE = 60.0


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    monkeypatch.setenv(KEY, "sesame")
    with fake_openai() as fake:
        yield fake


def model_map(fake: FakeOpenAI, **options: Any) -> ModelMap:
    """Three models of one provider, whose API calls them something else."""
    models = [
        Model(name, provider="here", endpoint=f"{name}-v1", tools=name != "second")
        for name in ("first", "second", "third")
    ]
    return ModelMap("third", models=models, providers=[Provider("here", fake.url, KEY)], **options)


class Twin:
    """One client of either kind, kept open, whose calls return when they are done."""

    def __init__(self, selector: Selector, answer: Any = CODE, **options: Any) -> None:
        self.selector = selector
        self.chunks: list[str] = []
        self._open(answer, options)

    def _open(self, answer: Any, options: dict[str, Any]) -> None:
        self._router = FakeRouter(answer, selector=self.selector)
        self._client = RoutedOpenAI(self._router, **options)

    @property
    def router(self) -> Any:
        return self._router

    def ask(self, messages: Any = HELLO, **arguments: Any) -> Routed[Any]:
        """What `create_with_selection` gives; of a stream, the words go to `chunks`."""
        routed: Any = self._client.chat.completions.create_with_selection(messages=messages, **arguments)
        if arguments.get("stream"):
            with routed.result as chunks:
                for each in chunks:
                    self.chunks.append(each.choices[0].delta.content)
        return routed

    def create(self, **arguments: Any) -> Any:
        return self._client.chat.completions.create(messages=HELLO, **arguments)

    def close(self) -> None:
        self._client.close()

    @staticmethod
    def official(**options: Any) -> Any:
        return openai.OpenAI(**options)


class AwaitedTwin(Twin):
    def _open(self, answer: Any, options: dict[str, Any]) -> None:
        self._runner = asyncio.Runner()
        self._router: Any = FakeAsyncRouter(answer, selector=self.selector)
        self._client: Any = AsyncRoutedOpenAI(self._router, **options)

    def ask(self, messages: Any = HELLO, **arguments: Any) -> Routed[Any]:
        async def asked() -> Routed[Any]:
            create = self._client.chat.completions.create_with_selection
            routed: Routed[Any] = await create(messages=messages, **arguments)
            if arguments.get("stream"):
                async with routed.result as chunks:
                    async for each in chunks:
                        self.chunks.append(each.choices[0].delta.content)
            return routed

        return self._runner.run(asked())

    def create(self, **arguments: Any) -> Any:
        return self._runner.run(self._client.chat.completions.create(messages=HELLO, **arguments))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    @staticmethod
    def official(**options: Any) -> Any:
        return openai.AsyncOpenAI(**options)


@pytest.fixture(params=[Twin, AwaitedTwin])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def opened(kind: Any, provider: FakeOpenAI) -> Iterator[Callable[..., Twin]]:
    """Opens clients, for a test to use: give the options of a selector as `selecting`."""
    twins: list[Twin] = []

    def open_twin(answer: Any = CODE, *, selecting: Any = None, mapping: Any = None, **options: Any) -> Twin:
        selector = Selector(model_map(provider, **(mapping or {})), stickiness=None, **(selecting or {}))
        options.setdefault("timeout", PATIENCE)
        twins.append(kind(selector, answer, **options))
        return twins[-1]

    yield open_twin
    for twin in twins:
        twin.close()


FIRST = chunk("first-v1", "one")
# Everything after which another model is asked, without a stream.
FAULTS: dict[str, Behaviour] = {
    "429": refuse(429),
    "408": refuse(408),
    "500": refuse(500),
    "503, come back": refuse(503, {"retry-after": "3600"}),
    "reset": reset,
    "garbage": say("{"),
    "a page": say("<html>", "text/html"),
    "another object": say('{"object": "list", "data": []}'),
    "an error with status 200": say('{"error": {"message": "on purpose"}}'),
    "null": say("null"),
}
# And before the first chunk of one.
STREAM_FAULTS: dict[str, Behaviour] = {
    "429": refuse(429),
    "500": refuse(500),
    "503, come back": refuse(503, {"retry-after": "3600"}),
    "reset": reset,
    "reset in the stream": stream(then=reset),
    "broken off": stream(then=break_off),
    "empty": stream(),
    "only its end": stream("[DONE]"),
    "garbage": stream("{"),
    "an error": stream(json.dumps({"error": {"message": "on purpose"}})),
    "a page": say("<html>", "text/html"),
}


def test_an_error_does_not_show_what_was_answered(opened: Any, provider: FakeOpenAI) -> None:
    for streamed in (False, True):
        fault = stream("the secret") if streamed else say("the secret")
        provider.scripts = {f"{name}-v1": [fault] for name in ("first", "second", "third")}
        with pytest.raises(openai.APIResponseValidationError) as raised:
            opened().ask(stream=streamed)
        assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_the_same_call_with_the_model_filled_in(opened: Any, provider: FakeOpenAI) -> None:
    twin = opened()
    completion = twin.create(temperature=0.5)
    assert isinstance(completion, openai.types.chat.ChatCompletion)
    assert completion.choices[0].message.content == "one two three"
    [request] = provider.requests
    assert request.path == "/v1/chat/completions"
    assert request.authorization == "Bearer sesame"
    assert request.body == {
        "model": "first-v1",
        "messages": HELLO,
        "temperature": 0.5,
        "stream": False,
    }


def test_the_selection_comes_with_it(opened: Any) -> None:
    routed = opened().ask()
    assert (routed.model.name, routed.selection.model.name) == ("first", "first")
    assert (routed.selection.policy, routed.selection.reason) == ("code", SelectionReason.ANSWERED)
    [attempt] = routed.attempts
    assert (attempt.model, attempt.error) == (routed.model, None)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_model_is_asked(opened: Any, provider: FakeOpenAI, fault: str) -> None:
    provider.scripts["first-v1"] = [FAULTS[fault]]
    routed = opened().ask()
    assert provider.asked() == ["first-v1", "second-v1"]
    assert routed.result.choices[0].message.content == "one two three"
    assert (routed.model.name, routed.selection.model.name) == ("second", "first")
    assert isinstance(routed.attempts[0].error, openai.APIError)


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_a_stream_goes_over_before_its_first_chunk(opened: Any, provider: FakeOpenAI, fault: str) -> None:
    provider.scripts["first-v1"] = [STREAM_FAULTS[fault]]
    twin = opened()
    routed = twin.ask(stream=True)
    assert provider.asked() == ["first-v1", "second-v1"]
    assert (twin.chunks, routed.model.name) == (list(WORDS), "second")
    assert isinstance(routed.attempts[0].error, openai.APIError)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_hangs_is_given_up(kind: Any, opened: Any, provider: FakeOpenAI, streamed: bool) -> None:
    provider.scripts["first-v1"] = [stream(then=hang) if streamed else hang]
    # The first model's provider alone has a timeout that can pass.
    impatient = kind.official(base_url=provider.url, api_key="sesame", timeout=0.5)
    patient = kind.official(base_url=provider.url, api_key="sesame", timeout=PATIENCE)
    models = ModelMap(
        "third",
        models=[Model("first", provider="slow", endpoint="first-v1"), Model("third", provider="fast")],
    )
    twin = kind(
        Selector(models, stickiness=None),
        decision("code", models=("first",)),
        clients={"slow": impatient, "fast": patient},
    )
    routed = twin.ask(stream=streamed)
    assert provider.asked() == ["first-v1", "third"]
    assert isinstance(routed.attempts[0].error, openai.APITimeoutError)
    assert routed.model.name == "third"
    # Clients that were given stay open, and are closed by whoever made them.
    for official in (impatient, patient):
        assert not official.is_closed()
        closing = official.close()
        if asyncio.iscoroutine(closing):
            twin._runner.run(closing)
    twin.close()


@pytest.mark.parametrize("ending", [reset, break_off])
def test_a_stream_that_breaks_later_is_not_begun_again(
    opened: Any, provider: FakeOpenAI, ending: Behaviour
) -> None:
    provider.scripts["first-v1"] = [stream(json.dumps(FIRST), then=ending)]
    twin = opened()
    with pytest.raises(openai.APIConnectionError):
        twin.ask(stream=True)
    assert provider.asked() == ["first-v1"]
    # A reset may overtake what was sent before it, but not what was read.
    assert twin.chunks in ([], ["one"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_no_other_model_would_do_better_is_raised(
    opened: Any, provider: FakeOpenAI, status: int
) -> None:
    provider.scripts["first-v1"] = [refuse(status)]
    with pytest.raises(openai.APIStatusError) as raised:
        opened().ask()
    assert raised.value.status_code == status
    assert provider.asked() == ["first-v1"]


def test_if_all_fail_the_last_error_is_raised_and_names_them(opened: Any, provider: FakeOpenAI) -> None:
    provider.scripts = {"first-v1": [refuse(429)], "second-v1": [reset], "third-v1": [refuse(500)]}
    with pytest.raises(openai.InternalServerError) as raised:
        opened().ask()
    assert raised.value.__notes__ == [
        "archroute asked every model of the selection: first (RateLimitError 429), "
        "second (APIConnectionError), third (InternalServerError 500)"
    ]


def test_a_model_that_says_when_is_left_alone_until_then(opened: Any, provider: FakeOpenAI) -> None:
    provider.scripts["first-v1"] = [refuse(429, {"retry-after": "3600"})]
    twin = opened()
    assert [twin.ask().model.name for _ in range(3)] == ["second", "second", "second"]
    assert provider.asked() == ["first-v1", "second-v1", "second-v1", "second-v1"]


def test_a_model_that_says_when_is_waited_for_if_no_other_is_left(opened: Any, provider: FakeOpenAI) -> None:
    provider.scripts = {
        "first-v1": [refuse(503, {"retry-after-ms": "1"})],
        "second-v1": [refuse(500)],
        "third-v1": [refuse(429, {"retry-after": "3600"})],
    }
    routed = opened(patience=PATIENCE).ask()
    assert provider.asked() == ["first-v1", "second-v1", "third-v1", "first-v1"]
    assert [each.error is None for each in routed.attempts] == [False, False, False, True]


def test_nobody_waits_longer_than_allowed(opened: Any, provider: FakeOpenAI) -> None:
    busy = refuse(429, {"retry-after": "3600"})
    provider.scripts = {f"{name}-v1": [busy, busy] for name in ("first", "second", "third")}
    twin = opened(patience=5)
    with pytest.raises(openai.RateLimitError):
        twin.ask()
    # All of them rest now, and so one is asked that can say what the matter is.
    with pytest.raises(openai.RateLimitError):
        twin.ask()
    assert provider.asked() == ["first-v1", "second-v1", "third-v1", "first-v1"]


def test_what_the_call_shows_decides_which_models_fit(opened: Any, provider: FakeOpenAI) -> None:
    tools = [{"type": "function", "function": {"name": "now", "parameters": {}}}]
    provider.scripts["first-v1"] = [refuse(500)]
    routed = opened().ask(tools=tools, max_completion_tokens=50)
    # The second model calls no tools.
    assert provider.asked() == ["first-v1", "third-v1"]
    assert (routed.selection.needs.tools, routed.selection.needs.output_tokens) == (True, 50)


def test_an_answer_can_be_sent_back_as_it_came(opened: Any, provider: FakeOpenAI) -> None:
    twin = opened()
    reply = twin.create().choices[0].message
    routed = twin.ask(iter([*HELLO, reply, *HELLO]))
    assert routed.selection.reason is SelectionReason.ANSWERED
    assert [each["role"] for each in provider.requests[-1].body["messages"]] == ["user", "assistant", "user"]


def test_the_options_of_the_routing(opened: Any) -> None:
    twin = opened(routing={"policy_set": "mine", "min_probability": 0.25})
    assert twin.ask(routing={"key": "s", "min_probability": 0.5}).selection.key == "s"
    [request] = twin.router.requests
    assert (request.policy_set, request.options.min_probability) == ("mine", 0.5)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"model": "mine"}, "model"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": None}, "messages"),
        ({"routing": {"strict": True}}, "routing"),
    ],
)
def test_a_wrong_call_is_refused(
    opened: Any, provider: FakeOpenAI, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(archroute.InvalidRequestError, match=rf"^{field}: "):
        opened().ask(**arguments)
    assert not provider.requests


def test_without_the_router_the_default_is_asked(opened: Any, provider: FakeOpenAI) -> None:
    routed = opened(archroute.UnavailableError("down")).ask()
    assert (routed.model.name, routed.selection.reason) == ("third", SelectionReason.UNAVAILABLE)


def test_latencies_are_reported(opened: Any, provider: FakeOpenAI) -> None:
    provider.scripts["first-v1"] = [refuse(500)]
    twin = opened(mapping={"strategy": Strategy.FASTEST}, selecting={"exploration": 0})
    assert twin.ask(stream=True).model.name == "second"
    # The only one of the policy of which a latency is known.
    assert twin.ask().selection.model.name == "second"
    assert twin.selector.counters.snapshot().reports == 2


def test_nothing_is_reported_if_that_is_not_wanted(opened: Any) -> None:
    twin = opened(report_latency=False)
    twin.ask()
    assert twin.selector.counters.snapshot().reports == 0


def test_failures_are_reported_as_rewards(opened: Any, provider: FakeOpenAI) -> None:
    provider.scripts["first-v1"] = [refuse(500)]
    rewards: RewardStore = MemoryRewards()
    opened(selecting={"rewards": rewards}, failure_reward=0.25).ask()
    assert rewards.of("code") == {"first": Rewards(0.25, 0.75)}


def test_a_model_that_only_the_answer_names_cannot_be_called_and_is_passed_over(
    opened: Any, provider: FakeOpenAI
) -> None:
    routed = opened(decision("code", models=("stranger",))).ask()
    assert provider.asked() == ["third-v1"]
    error = routed.attempts[0].error
    assert isinstance(error, archroute.ModelMapError)
    assert str(error).startswith("models: 'stranger' cannot be called, because it has no `provider`")


def test_it_can_be_called_by_a_client_for_models_without_a_provider(
    kind: Any, opened: Any, provider: FakeOpenAI
) -> None:
    official = kind.official(base_url=provider.url, api_key="sesame")
    twin = opened(decision("code", models=("stranger",)), clients={"": official})
    assert twin.ask().model.name == "stranger"
    assert provider.asked() == ["stranger"]
    closing = official.close()
    if asyncio.iscoroutine(closing):
        twin._runner.run(closing)


def test_a_model_map_that_comes_later_is_gone_by(opened: Any, provider: FakeOpenAI) -> None:
    twin = opened()
    twin.ask()
    twin.selector.models = model_map(
        provider, policies={"code": archroute.selection.PolicyModels(("third",))}
    )
    assert twin.ask().model.name == "third"


def test_a_task_that_is_cancelled_asks_nobody_else(provider: FakeOpenAI) -> None:
    async def cancelled() -> bool:
        selector = Selector(model_map(provider), stickiness=None)
        async with (
            FakeAsyncRouter(CODE, selector=selector) as router,
            AsyncRoutedOpenAI(router, timeout=PATIENCE) as client,
        ):
            asked = asyncio.Event()
            loop = asyncio.get_running_loop()

            def behave(handler: Any, body: Any) -> None:
                loop.call_soon_threadsafe(asked.set)
                hang(handler, body)

            provider.scripts["first-v1"] = [behave]
            task = asyncio.create_task(client.chat.completions.create(messages=HELLO))
            await asked.wait()
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    assert asyncio.run(cancelled())
    assert provider.asked() == ["first-v1"]


def test_a_closed_stream_gives_back_its_connection(provider: FakeOpenAI) -> None:
    selector = Selector(model_map(provider), stickiness=None)
    with FakeRouter(CODE, selector=selector) as router, RoutedOpenAI(router, timeout=PATIENCE) as client:
        with client.chat.completions.create(messages=HELLO, stream=True) as chunks:
            assert next(chunks).choices[0].delta.content == "one"
        assert chunks.response.is_closed


def test_the_server_of_these_tests_is_healthy(provider: FakeOpenAI) -> None:
    provider.scripts["m"] = [answer]
    with openai.OpenAI(base_url=provider.url, api_key="x", max_retries=0) as client:
        chunks = client.chat.completions.create(model="m", messages=HELLO, stream=True)
        assert [each.choices[0].delta.content for each in chunks] == list(WORDS)
