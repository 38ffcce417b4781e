"""`select` and `report` of both clients, with everything but a server."""

import copy
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import archroute
from archroute import Model, ModelMap, Needs, Outcome, Selector, Stickiness, Strategy, errors
from archroute import SelectionOutcome as Out
from archroute import SelectionReason as Why
from archroute.selection import AnswerCache, CircuitBreaker, CircuitState, Holding, PolicyModels
from archroute.selection.rewards_file import FileRewards
from archroute.testing import decision

EYES = Model("eyes", vision=True, tools=True, context_window=2_000)
DEFAULT = Model("default", tools=True)
LARGE = Model("large", tools=True)
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
CODE = decision("code", models=("large", "eyes"), probability=0.75)


class Broken:
    def __iter__(self) -> Iterator[Any]:
        raise ZeroDivisionError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def selector(clock: Clock) -> Selector:
    return selector_with(clock=clock)


def selector_with(**options: Any) -> Selector:
    models = ModelMap("default", models=[EYES, DEFAULT, LARGE], **options.pop("map", {}))
    options.setdefault("cache", AnswerCache(entries=0))
    return Selector(models, seed=7, **options)


def names(selection: archroute.Selection) -> list[str]:
    return [model.name for model in (selection.model, *selection.alternatives)]


def test_a_policy_becomes_a_model(twin: Any, selector: Selector) -> None:
    selection = twin(CODE, selector).select(key="s")
    assert names(selection) == ["large", "eyes", "default"]
    assert (selection.policy, selection.probability) == ("code", 0.75)
    assert (selection.outcome, selection.reason, selection.rule) == (Out.ROUTED, Why.ANSWERED, "ranked")
    assert (selection.key, selection.holding) == ("s", Holding("code"))
    assert selection.fits
    assert selection.decision is CODE
    assert selection.error is None


def test_the_request_is_that_of_route(twin: Any, selector: Selector) -> None:
    client = twin(CODE, selector)
    client.select("Hi", policy_set="mine", min_probability=0.5, key="s")
    [request] = client.router.requests
    assert (request.policy_set, request.options.min_probability, request.session_id) == ("mine", 0.5, "s")
    client.select("Hi", policies=[{"name": "a", "description": "b"}])
    assert client.router.requests[1].inline_policies.policies[0].name == "a"
    assert client.router.requests[1].session_id.startswith("derived-")


@pytest.mark.parametrize("error", list(dict.fromkeys(errors.ERRORS.values())), ids=lambda e: e.__name__)
def test_every_failure_of_the_router_ends_in_the_default(twin: Any, selector: Selector, error: Any) -> None:
    raised = error("broken")
    client = twin(raised, selector)
    selection = client.select()
    assert names(selection) == ["default"]
    assert (selection.policy, selection.probability, selection.rule) == (None, None, "default")
    assert selection.outcome is Out.DEFAULT
    assert selection.reason not in (Why.CLIENT_ERROR, Why.OTHER)
    assert selection.error is raised
    with pytest.raises(error, match="broken"):
        client.select(strict=True)
    counted = selector.counters.snapshot()
    assert counted.by_reason[selection.reason] == counted.selections == counted.calls == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"messages": None}, Why.INVALID_REQUEST),
        ({"messages": [{"role": "robot", "content": "x"}]}, Why.INVALID_REQUEST),
        ({"messages": "\udc80"}, Why.INVALID_REQUEST),
        ({"messages": Broken()}, Why.CLIENT_ERROR),
        ({"messages": "x", "key": 7}, Why.INVALID_REQUEST),
        ({"messages": "x", "needs": "vision"}, Why.INVALID_REQUEST),
        ({"messages": "x", "policy_set": "a", "policies": []}, Why.INVALID_REQUEST),
        ({"messages": "x", "min_probability": 2}, Why.INVALID_REQUEST),
        ({"messages": "x", "timeout": -1}, Why.INVALID_REQUEST),
    ],
)
def test_a_wrong_argument_ends_in_the_default_too(
    twin: Any, selector: Selector, arguments: dict[str, Any], reason: Why
) -> None:
    selection = twin(CODE, selector).select(**arguments)
    assert (names(selection), selection.outcome, selection.reason) == (["default"], Out.DEFAULT, reason)


def test_a_client_without_a_selector_says_so(twin: Any) -> None:
    with pytest.raises(archroute.InvalidRequestError, match=r"^selector: "):
        twin(CODE, None).select()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (decision(None), Why.OTHER),
        (decision(None, outcome=Outcome.LOW_CONFIDENCE), Why.LOW_CONFIDENCE),
        (decision(None, outcome=Outcome.UNRECOGNIZED), Why.UNRECOGNIZED),
        (decision("code"), Why.NO_MODELS),
    ],
)
def test_an_answer_without_a_model_ends_in_the_default(
    twin: Any, selector: Selector, answer: Any, reason: Why
) -> None:
    client = twin(answer, selector)
    selection = client.select()
    assert (names(selection), selection.reason, selection.decision) == (["default"], reason, answer)
    # That no policy fits is an answer and no failure.
    assert client.select(strict=True, key="another").reason is reason


def test_only_models_that_can_do_it_are_candidates(twin: Any, selector: Selector) -> None:
    client = twin(CODE, selector)
    seen = client.select(IMAGE)
    assert (names(seen), seen.needs.vision) == (["eyes"], True)
    long = client.select("x" * 6_000)
    assert names(long) == ["large", "default"]
    assert long.needs.input_tokens == 2_004
    assert names(client.select("hi", needs=Needs(output_tokens=2_000))) == ["large", "default"]


def test_if_no_model_fits_the_selection_says_so(twin: Any, selector: Selector) -> None:
    client = twin(CODE, selector)
    selection = client.select(needs=Needs(json_mode=True))
    assert (names(selection), selection.fits, selection.reason) == (["default"], False, Why.NO_MODEL_FITS)
    with pytest.raises(archroute.NoModelFitsError):
        client.select(needs=Needs(json_mode=True), strict=True)
    assert selector.counters.snapshot().by_reason[Why.NO_MODEL_FITS] == 2


def test_the_default_is_filtered_too(twin: Any) -> None:
    models = ModelMap(["default", "eyes"], models=[DEFAULT, EYES])
    selection = twin(archroute.UnavailableError("down"), Selector(models)).select(IMAGE)
    assert (names(selection), selection.fits) == (["eyes"], True)


def test_an_equal_question_is_asked_once(twin: Any, clock: Clock) -> None:
    selector = selector_with(clock=clock, cache=AnswerCache(seconds=60))
    client = twin(CODE, selector)
    reasons = [client.select("hi", key=str(number)).reason for number in range(3)]
    clock.now = 60
    reasons.append(client.select("hi").reason)
    assert reasons == [Why.ANSWERED, Why.CACHED, Why.CACHED, Why.ANSWERED]
    assert len(client.router.requests) == selector.counters.snapshot().calls == 2


def test_a_router_that_keeps_failing_is_left_alone_and_found_again(twin: Any, clock: Clock) -> None:
    breaker = CircuitBreaker(failures=3, seconds=10)
    selector = selector_with(clock=clock, breaker=breaker)
    client = twin(archroute.DeadlineExceededError("slow"), selector)
    reasons = [client.select().reason for _ in range(5)]
    assert reasons == [Why.DEADLINE_EXCEEDED] * 3 + [Why.CIRCUIT_OPEN] * 2
    with pytest.raises(archroute.CircuitOpenError):
        client.select(strict=True)
    client.router.answer = CODE
    clock.now = 10
    assert client.select().reason is Why.ANSWERED
    assert breaker.state is CircuitState.CLOSED
    assert selector.counters.snapshot().calls == len(client.router.requests) == 4


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (errors.UnavailableError("x"), True),
        (errors.ProtocolError("x"), True),
        (errors.ResourceExhaustedError("at its limit", reason="OVERLOADED"), True),
        (errors.ResourceExhaustedError("message larger than max"), False),
        (errors.PolicySetNotFoundError("x", code=archroute.status.grpc.StatusCode.NOT_FOUND), False),
        (errors.RequestCancelledError("x"), False),
    ],
)
def test_only_what_speaks_of_the_router_opens_the_circuit(
    twin: Any, clock: Clock, error: errors.ArchrouteError, opens: bool
) -> None:
    breaker = CircuitBreaker(failures=1, seconds=10)
    twin(error, selector_with(clock=clock, breaker=breaker)).select()
    assert (breaker.state is CircuitState.OPEN) is opens


def turned(policy: str, ahead: float) -> archroute.Decision:
    ranking = [("code", 0.5), ("travel", 0.5)]
    ranking = [(name, each + (ahead / 2 if name == policy else -ahead / 2)) for name, each in ranking]
    return decision(policy, models=(f"for-{policy}", "eyes"), ranking=ranking, probability=0.5 + ahead / 2)


def test_a_session_stays_until_another_policy_is_clearly_better(twin: Any) -> None:
    selector = selector_with(stickiness=Stickiness(margin=0.2, max_switches=1))
    client = twin(turned("code", 0.1), selector)
    selections = [client.select(key="s")]
    for answer in (turned("travel", 0.1), turned("travel", 0.5), turned("code", 0.9)):
        client.router.answer = answer
        selections.append(client.select(key="s"))
    assert [(each.policy, each.model.name, each.reason, each.holding.switches) for each in selections] == [
        ("code", "for-code", Why.ANSWERED, 0),
        ("code", "for-code", Why.WITHIN_MARGIN, 0),
        ("travel", "for-travel", Why.ANSWERED, 1),
        ("travel", "for-travel", Why.SWITCHES_SPENT, 1),
    ]
    assert selections[1].probability == pytest.approx(0.45)
    # What the selections show is enough to come to the same end again.
    turns = [each.turn for each in selections if each.turn is not None]
    holding, _ = Stickiness(margin=0.2, max_switches=1).replay(turns)
    assert holding == selections[-1].holding
    assert selector.counters.snapshot().switches == 1
    assert client.select(key="another").policy == "code"


def test_a_tools_result_keeps_the_decision_without_asking(twin: Any, selector: Selector) -> None:
    client = twin(CODE, selector)
    question = [{"role": "user", "content": "How warm is it?"}]
    result = [*question, {"role": "assistant", "content": None}, {"role": "tool", "content": "21"}]
    first, second = client.select(question), client.select(result)
    assert (second.model, second.policy) == (first.model, "code")
    assert (second.outcome, second.reason, second.rule) == (Out.HELD, Why.NOT_A_USER_TURN, "session")
    assert len(client.router.requests) == 1
    # A session that is not known has nothing to keep.
    assert client.select(result, key="new").reason is Why.ANSWERED


def test_a_failure_changes_nothing_in_the_session(twin: Any, selector: Selector) -> None:
    client = twin(CODE, selector)
    client.select(key="s")
    client.router.answer = archroute.UnavailableError("down")
    failed = client.select(key="s")
    assert (names(failed), failed.holding, failed.turn) == (["default"], Holding("code"), None)
    client.router.answer = decision("travel", models=("x",), ranking=[("travel", 0.5), ("code", 0.4)])
    assert client.select(key="s").policy == "code"


def test_without_stickiness_each_turn_is_by_itself(twin: Any) -> None:
    client = twin(CODE, selector_with(stickiness=None))
    client.select(key="s")
    client.router.answer = decision("travel", models=("large",), ranking=[("travel", 0.5), ("code", 0.5)])
    last = client.select([{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}], key="s")
    assert (last.policy, last.reason) == ("travel", Why.ANSWERED)


def test_a_canary_is_named_and_stays_with_its_session(twin: Any) -> None:
    entry = PolicyModels(("large", "eyes"), Strategy.WEIGHTED, {"large": 1, "eyes": 1}, "canary")
    client = twin(CODE, selector_with(map={"policies": {"code": entry}}))
    models = {key: client.select(key=key).model.name for key in map(str, range(40))}
    assert set(models.values()) == {"large", "eyes"}
    for key, name in models.items():
        again = client.select(key=key)
        assert (again.model.name, again.rule, again.experiment) == (name, "session", "canary")
    fresh = twin(CODE, selector_with(map={"policies": {"code": entry}}))
    for key, name in models.items():
        selection = fresh.select(key=key)
        assert (selection.model.name, selection.rule) == (name, "weighted")


def test_a_canary_grows_without_a_new_selector(twin: Any) -> None:
    def split(new: int) -> ModelMap:
        weights = {"large": 100 - new, "eyes": new}
        entry = PolicyModels(("large", "eyes"), Strategy.WEIGHTED, weights)
        return ModelMap("default", models=[EYES, LARGE], policies={"code": entry})

    selector = Selector(split(0), cache=AnswerCache(entries=0), seed=7)
    client = twin(CODE, selector)
    keys = [str(number) for number in range(20)]
    assert {client.select(key=key).model.name for key in keys} == {"large"}
    selector.models = split(50)
    # Those that were begun stay where they are, and others are split anew.
    assert {client.select(key=key).model.name for key in keys} == {"large"}
    assert {client.select(key=f"new {key}").model.name for key in keys} == {"large", "eyes"}
    selector.models = split(100)
    assert {client.select(key=f"newer {key}").model.name for key in keys} == {"eyes"}
    # A model that is gone from the map is gone from the sessions too.
    entry = PolicyModels(("eyes",))
    selector.models = ModelMap("default", models=[EYES], policies={"code": entry})
    assert {client.select(key=key).model.name for key in keys} == {"eyes"}
    assert selector.counters.snapshot().selections == 100


def test_rewards_teach_the_bandit_of_the_next_process(twin: Any, tmp_path: Path) -> None:
    means = {"large": 0.2, "eyes": 0.8}
    path = tmp_path / "rewards.json"
    options: dict[str, Any] = {"map": {"strategy": Strategy.BANDIT}, "stickiness": None}
    client = twin(CODE, selector_with(rewards=FileRewards(path), **options))
    environment = random.Random(0)
    for _ in range(60):
        selection = client.select()
        client.report(selection, reward=float(environment.random() < means[selection.model.name]))
    later = twin(CODE, selector_with(rewards=FileRewards(path), exploration=0, **options))
    picked = [later.select().model.name for _ in range(100)]
    assert picked.count("eyes") > 90
    assert later.select().rule == "bandit"


def test_latencies_teach_which_is_fastest(twin: Any) -> None:
    selector = selector_with(map={"strategy": Strategy.FASTEST}, stickiness=None, exploration=0)
    client = twin(CODE, selector)
    first = client.select()
    client.report(first, latency=2.0)
    client.report(first, latency=0.5, model="eyes")
    assert client.select().model.name == "eyes"
    assert selector.counters.snapshot().reports == 2


def test_rewards_that_cannot_be_kept_fail_nobody(twin: Any, tmp_path: Path) -> None:
    path = tmp_path / "rewards.json"
    path.write_text("no rewards", encoding="utf-8")
    selector = selector_with(rewards=FileRewards(path), map={"strategy": Strategy.BANDIT})
    client = twin(CODE, selector)
    selection = client.select()
    client.report(selection, reward=1.0)
    assert selection.reason is Why.ANSWERED
    assert selector.counters.snapshot().reward_errors == 2


@pytest.mark.parametrize(
    "wrong", [{"reward": 1.5}, {"reward": float("nan")}, {"latency": -1}, {"model": "stranger"}]
)
def test_a_wrong_report_is_refused(twin: Any, selector: Selector, wrong: dict[str, Any]) -> None:
    client = twin(CODE, selector)
    selection = client.select()
    [name] = wrong
    with pytest.raises(archroute.InvalidRequestError, match=rf"^{name}: "):
        client.report(selection, **wrong)
    assert selector.counters.snapshot().reports == 0


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"exploration": 2}, {"sessions": 0}])
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(archroute.InvalidRequestError, match=rf"^{name}: "):
        selector_with(**wrong)


def test_sessions_are_bounded(twin: Any) -> None:
    client = twin(CODE, selector_with(sessions=2))
    for key in ("a", "b", "c"):
        client.select(key=key)
    assert [client.select(key=key).rule for key in ("b", "c", "a")] == ["session", "session", "ranked"]


def test_a_selection_can_be_stored(twin: Any, selector: Selector) -> None:
    selection = twin(CODE, selector).select()
    assert pickle.loads(pickle.dumps(selection)) == copy.deepcopy(selection) == selection
