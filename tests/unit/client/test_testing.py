"""The routers that applications test with: they must be what they stand for."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

import archroute
from archroute import AsyncRouter, Outcome, Policy, PolicySet, PolicySetSummary, Router, RouteRequest
from archroute.testing import FakeAsyncRouter, FakeRouter, decision

CODE = decision("code", models=("large",), probability=0.75)
UNSURE = decision(None, outcome=Outcome.LOW_CONFIDENCE, ranking=[("a", 0.2)])
REFUSED = archroute.UnavailableError("down")
SETS = (
    PolicySet("b", "sha256:1", (Policy("code", "Code", ("large",)),)),
    PolicySet("a", "sha256:2", ()),
)
REQUESTS = [
    ("1", RouteRequest(messages="one")),
    ("2", RouteRequest(messages=[{"role": "robot", "content": "two"}])),
]


@pytest.mark.parametrize(("fake", "real"), [(FakeRouter, Router), (FakeAsyncRouter, AsyncRouter)])
def test_a_fake_has_the_signatures_of_the_real_one(fake: type, real: type) -> None:
    for name, method in vars(real).items():
        if not name.startswith("_"):
            assert inspect.signature(getattr(fake, name)) == inspect.signature(method), name


def test_the_fakes_are_twins() -> None:
    public = [[name for name in vars(kind) if name[0] != "_"] for kind in (FakeRouter, FakeAsyncRouter)]
    assert public[0] == public[1]
    blocking, awaited = inspect.signature(FakeRouter), inspect.signature(FakeAsyncRouter)
    assert list(blocking.parameters.values()) == list(awaited.parameters.values())


def call(kind: Any, method: str, *arguments: Any, answer: Any = CODE, **options: Any) -> Any:
    router = kind(answer, policy_sets=SETS)

    async def awaited() -> Any:
        async with router:
            return await getattr(router, method)(*arguments, **options)

    if kind is FakeAsyncRouter:
        return asyncio.run(awaited())
    with router:
        return getattr(router, method)(*arguments, **options)


BOTH = pytest.mark.parametrize("kind", [FakeRouter, FakeAsyncRouter])


@BOTH
def test_it_answers_what_it_is_told(kind: Any) -> None:
    assert call(kind, "route", "hi") is CODE
    with pytest.raises(archroute.UnavailableError) as raised:
        call(kind, "route", "hi", answer=REFUSED)
    assert raised.value is REFUSED
    assert (
        call(kind, "route", "hi", answer=lambda request: decision(request.session_id), session_id="s").policy
        == "s"
    )


@BOTH
@pytest.mark.parametrize("wrong", [{"timeout": -1}, {"min_probability": 2}, {"top_k": -1}])
def test_arguments_are_checked_as_by_the_real_one(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(archroute.InvalidRequestError):
        call(kind, "route", "hi", **wrong)


@BOTH
def test_it_holds_policy_sets(kind: Any) -> None:
    assert call(kind, "list_policy_sets") == (
        PolicySetSummary("a", "sha256:2", 0, False),
        PolicySetSummary("b", "sha256:1", 1, True),
    )
    assert call(kind, "get_policy_set") is SETS[0]
    assert call(kind, "get_policy_set", "a") is SETS[1]
    with pytest.raises(archroute.PolicySetNotFoundError):
        call(kind, "get_policy_set", "c")


def check_stream(answers: list[Any]) -> None:
    [(first, found), (second, error)] = answers
    assert (first, found) == ("1", CODE)
    assert second == "2"
    assert isinstance(error, archroute.InvalidRequestError)


def test_it_answers_a_stream() -> None:
    check_stream(list(FakeRouter(CODE).route_stream(REQUESTS)))

    async def some() -> AsyncIterator[Any]:
        for each in REQUESTS:
            yield each

    async def collected(requests: Any) -> list[Any]:
        return [each async for each in FakeAsyncRouter(CODE).route_stream(requests)]

    check_stream(asyncio.run(collected(REQUESTS)))
    check_stream(asyncio.run(collected(some())))


def test_it_remembers_what_it_was_asked() -> None:
    router = FakeRouter(CODE)
    router.route("hi", policy_set="mine")
    assert [each.policy_set for each in router.requests] == ["mine"]


@pytest.mark.parametrize(
    ("found", "outcome", "ranking"),
    [
        (CODE, Outcome.MATCHED, {"code": 0.75, "other": 0.25}),
        (decision(None), Outcome.OTHER, {"other": 1.0}),
        (
            decision(None, outcome=Outcome.LOW_CONFIDENCE, ranking=[("a", 0.2)]),
            Outcome.LOW_CONFIDENCE,
            {"a": 0.2},
        ),
    ],
)
def test_a_decision_is_complete(found: Any, outcome: Outcome, ranking: dict[str, float]) -> None:
    assert found.outcome is outcome
    assert {each.policy: each.probability for each in found.ranking} == ranking


@BOTH
def test_policy_sets_are_put_and_deleted(kind: Any) -> None:
    router = kind(CODE, policy_sets=SETS)

    def made(method: str, *arguments: Any, **options: Any) -> Any:
        result = getattr(router, method)(*arguments, **options)
        return asyncio.run(result) if kind is FakeAsyncRouter else result

    put = made("put_policy_set", "c", [Policy("code", "Code")], default_policy="code", if_revision="")
    assert made("get_policy_set", "c") == put
    assert (put.policies, put.default_policy, put.stored) == ((Policy("code", "Code"),), "code", True)
    assert (
        made("validate_policy_set", [Policy("code", "Code")], default_policy="code").revision == put.revision
    )
    with pytest.raises(archroute.PolicySetChangedError) as caught:
        made("put_policy_set", "c", [], if_revision="")
    assert caught.value.metadata == {"current_revision": put.revision}
    with pytest.raises(archroute.PolicySetChangedError):
        made("delete_policy_set", "c", if_revision="sha256:1")
    changed = made("put_policy_set", "b", [Policy("talk", "Talk")])
    assert made("get_policy_set") == changed
    made("delete_policy_set", "c", if_revision=put.revision)
    with pytest.raises(archroute.PolicySetNotFoundError):
        made("delete_policy_set", "c")
    assert [each.name for each in made("list_policy_sets")] == ["a", "b"]
