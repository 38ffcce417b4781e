"""Whom a call asks next, without anybody being asked."""

from typing import Any

import httpx2
import openai
import pytest

from archroute import Model, ModelMapError, Selection
from archroute.openai.failover import Failover, may_pass
from archroute.openai.resting import Resting
from archroute.selection import ModelMap, Selector
from archroute.testing import FakeRouter, decision
from support.fake_clock import FakeClock

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
NAMES = ("a", "b", "c")


def refused(status: int, **headers: str) -> openai.APIStatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, headers=named, request=REQUEST)
    return openai.APIStatusError("on purpose", response=response, body=None)


@pytest.fixture
def selection() -> Selection:
    selector = Selector(ModelMap("c"), stickiness=None)
    return FakeRouter(decision("code", models=NAMES), selector=selector).select("Hello")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def begun(selection: Selection, clock: FakeClock, resting: Resting | None = None, **options: Any) -> Failover:
    options.setdefault("patience", 2.0)
    return Failover(selection, resting or Resting(), clock=clock, **options)


def fails(failover: Failover, error: Exception) -> tuple[str, float]:
    """Takes a step, which fails. Returns whom it asked and after what wait."""
    step = failover.next_step()
    failover.failed(step.model, error)
    return step.model.name, step.wait


def test_each_model_is_asked_once_in_the_order_of_the_selection(
    selection: Selection, clock: FakeClock
) -> None:
    failover = begun(selection, clock)
    assert [fails(failover, refused(500))[0] for _ in NAMES] == list(NAMES)
    last = refused(500)
    failover = begun(selection, clock)
    for error in (refused(500), refused(429), last):
        fails(failover, error)
    with pytest.raises(openai.APIStatusError) as raised:
        failover.next_step()
    assert raised.value is last


def test_the_attempts_are_in_the_result(selection: Selection, clock: FakeClock) -> None:
    failover = begun(selection, clock)
    first = failover.next_step().model
    clock.now += 1.5
    failed = failover.failed(first, refused(500))
    second = failover.next_step().model
    clock.now += 0.25
    routed = failover.answered(second, "result")
    assert [(each.model.name, each.seconds) for each in routed.attempts] == [("a", 1.5), ("b", 0.25)]
    assert routed.attempts[0] is failed
    assert (routed.result, routed.model.name, routed.selection) == ("result", "b", selection)


def test_an_error_that_will_not_pass_is_raised(selection: Selection, clock: FakeClock) -> None:
    failover = begun(selection, clock)
    error = refused(400)
    with pytest.raises(openai.APIStatusError) as raised:
        fails(failover, error)
    assert raised.value is error


def test_who_says_when_is_asked_again_after_all_others(selection: Selection, clock: FakeClock) -> None:
    failover = begun(selection, clock)
    assert fails(failover, refused(429, retry_after="1.5")) == ("a", 0.0)
    clock.now += 0.5
    assert fails(failover, refused(500)) == ("b", 0.0)
    assert fails(failover, refused(503, retry_after="2")) == ("c", 0.0)
    assert fails(failover, refused(429, retry_after="0.5")) == ("a", 1.0)
    clock.now += 1.0
    # One second of the two was spent on waiting, and `c` needs another; `a` was invited once already.
    assert fails(failover, refused(429, retry_after="0")) == ("c", 1.0)
    with pytest.raises(openai.APIStatusError):
        failover.next_step()


def test_nobody_is_waited_for_longer_than_the_patience(selection: Selection, clock: FakeClock) -> None:
    failover = begun(selection, clock)
    for _ in NAMES:
        assert fails(failover, refused(429, retry_after="2.5"))[1] == 0.0
    with pytest.raises(openai.APIStatusError):
        failover.next_step()


def test_who_rests_comes_last(selection: Selection, clock: FakeClock) -> None:
    resting = Resting()
    resting.rest("a", clock.now + 1)
    failover = begun(selection, clock, resting)
    assert [fails(failover, refused(500)) for _ in NAMES] == [("b", 0.0), ("c", 0.0), ("a", 1.0)]


def test_if_all_rest_for_long_the_one_that_is_back_first_is_asked_at_once(
    selection: Selection, clock: FakeClock
) -> None:
    resting = Resting()
    for name, seconds in zip(NAMES, (30, 10, 20), strict=True):
        resting.rest(name, clock.now + seconds)
    failover = begun(selection, clock, resting)
    assert fails(failover, refused(429)) == ("b", 0.0)
    with pytest.raises(openai.APIStatusError):
        failover.next_step()


def test_a_later_moment_is_kept() -> None:
    resting = Resting()
    resting.rest("a", 10)
    resting.rest("a", 5)
    assert [resting.seconds_left("a", now) for now in (4, 10, 4)] == [6, 0, 0]
    assert resting.seconds_left("b", 4) == 0


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        *((refused(status), True) for status in (408, 429, 500, 502, 503, 529)),
        *((refused(status), False) for status in (400, 401, 403, 404, 409, 413, 422)),
        (openai.APITimeoutError(REQUEST), True),
        (openai.APIConnectionError(request=REQUEST), True),
        (openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), None), True),
        (openai.APIError("within a stream", REQUEST, body=None), True),
        (ModelMapError("no provider"), True),
        (openai.OpenAIError("no credentials"), False),
        (TypeError("a wrong argument"), False),
    ],
    ids=repr,
)
def test_what_may_pass(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


def test_models_of_one_selection_are_told_apart_by_name(selection: Selection) -> None:
    assert [model.name for model in (selection.model, *selection.alternatives)] == list(NAMES)
    assert isinstance(selection.model, Model)
