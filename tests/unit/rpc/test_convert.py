import dataclasses
import math

import pytest
from google.protobuf.duration_pb2 import Duration

from archroute.v1 import router_pb2
from archroute_server.engine.answer import Answer, FallbackReason, Timings, TokenUsage
from archroute_server.engine.identity import Identity
from archroute_server.router.decision import Decision, Outcome, Ranked, fallback
from archroute_server.router.errors import InvalidRequest, PolicySetNotFound, Violation
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.convert import (
    OUTCOMES,
    ROLES,
    Question,
    in_request_terms,
    read_question,
    write_response,
)
from archroute_server.rpc.errors import NoDefaultPolicySet

CODE = PolicySet("coding", (Policy("code", "Writing code.", ("large", "small")),))
TALK = PolicySet("talking", (Policy("talk", "Small talk."),))
SETS = PolicySets([CODE, TALK], default_name="coding")


def user(*texts: str) -> router_pb2.Message:
    return router_pb2.Message(role=router_pb2.ROLE_USER, parts=[router_pb2.Part(text=text) for text in texts])


def inline(*policies: router_pb2.Policy) -> router_pb2.InlinePolicies:
    return router_pb2.InlinePolicies(policies=policies)


def violations(request: router_pb2.RouteRequest) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read_question(request, SETS)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_every_role_and_outcome_of_the_protocol_has_its_counterpart() -> None:
    assert set(ROLES) == set(router_pb2.Role.values()) - {router_pb2.ROLE_UNSPECIFIED}
    assert set(ROLES.values()) == set(Role)
    assert set(OUTCOMES) == set(Outcome)
    assert set(OUTCOMES.values()) == set(router_pb2.Outcome.values()) - {router_pb2.OUTCOME_UNSPECIFIED}


def test_parts_with_text_are_joined_and_others_dropped() -> None:
    message = user("one", "two")
    message.parts.add()  # an image, say
    message.parts.add(text="three")
    question = read_question(router_pb2.RouteRequest(messages=[message]), SETS)
    assert question.messages == (Message(Role.USER, "one\ntwo\nthree"),)


@pytest.mark.parametrize(("name", "expected"), [("", CODE), ("coding", CODE), ("talking", TALK)])
def test_a_policy_set_by_name_or_the_default(name: str, expected: PolicySet) -> None:
    request = router_pb2.RouteRequest(policy_set=name, messages=[user("hi")])
    assert read_question(request, SETS).policies is expected


def test_no_policies_at_all_is_the_default() -> None:
    assert read_question(router_pb2.RouteRequest(messages=[user("hi")]), SETS).policies is CODE


def test_inline_policies() -> None:
    policy = router_pb2.Policy(name="a", description="b", models=["m", "n"])
    request = router_pb2.RouteRequest(inline_policies=inline(policy), messages=[user("hi")])
    assert read_question(request, PolicySets()).policies == PolicySet("", (Policy("a", "b", ("m", "n")),))


def test_a_policy_set_that_is_not_there() -> None:
    with pytest.raises(PolicySetNotFound):
        read_question(router_pb2.RouteRequest(policy_set="absent"), SETS)


def test_no_policies_and_no_default() -> None:
    with pytest.raises(NoDefaultPolicySet):
        read_question(router_pb2.RouteRequest(messages=[user("hi")]), PolicySets())


def test_everything_wrong_is_said_at_once_and_where() -> None:
    request = router_pb2.RouteRequest(
        inline_policies=inline(
            router_pb2.Policy(name="a", description="b"), router_pb2.Policy(name="other", description=" ")
        ),
        messages=[user("hi"), router_pb2.Message(), router_pb2.Message(role=17)],  # type: ignore[arg-type]
        options=router_pb2.RouteOptions(min_probability=1.5),
    )
    wrong = violations(request)
    assert list(wrong) == [
        "inline_policies.policies[1].name",
        "inline_policies.policies[1].description",
        "messages[1].role",
        "messages[2].role",
        "options.min_probability",
    ]
    assert "is ROLE_UNSPECIFIED; use one of ROLE_SYSTEM" in wrong["messages[1].role"]
    assert "is unknown (17)" in wrong["messages[2].role"]
    assert wrong["options.min_probability"] == "is 1.5; give a number from 0 to 1"


def test_no_inline_policies_is_said_in_the_requests_terms() -> None:
    request = router_pb2.RouteRequest(inline_policies=inline(), messages=[user("hi")])
    assert list(violations(request)) == ["inline_policies.policies"]


@pytest.mark.parametrize("minimum", [-0.1, 1.1, math.nan, math.inf, -math.inf])
def test_a_probability_out_of_range(minimum: float) -> None:
    options = router_pb2.RouteOptions(min_probability=minimum)
    request = router_pb2.RouteRequest(messages=[user("hi")], options=options)
    assert list(violations(request)) == ["options.min_probability"]


@pytest.mark.parametrize(
    ("request_", "field", "description"),
    [
        (
            router_pb2.RouteRequest(messages=[router_pb2.Message()] * 10_001),
            "messages",
            "holds 10001 messages; the limit is 10000: send the newest",
        ),
        (
            router_pb2.RouteRequest(messages=[router_pb2.Message(parts=[router_pb2.Part()] * 5_001)] * 2),
            "messages",
            "have 10002 parts; the limit is 10000 in all",
        ),
        (
            router_pb2.RouteRequest(inline_policies=inline(*[router_pb2.Policy()] * 501)),
            "inline_policies.policies",
            "holds 501 policies; the limit is 500",
        ),
    ],
)
def test_what_there_is_too_much_of_is_not_looked_at(
    request_: router_pb2.RouteRequest, field: str, description: str
) -> None:
    assert violations(request_) == {field: description}


def test_errors_of_the_engine_are_put_in_the_requests_terms() -> None:
    error = InvalidRequest(Violation("policies", "take too much"), Violation("messages", "is empty"))
    by_name = router_pb2.RouteRequest(policy_set="coding")
    brought = router_pb2.RouteRequest(inline_policies=inline())
    assert in_request_terms(error, by_name) is error
    fields = [violation.field for violation in in_request_terms(error, brought).violations]
    assert fields == ["inline_policies.policies", "messages"]


def answer(decision: Decision) -> Answer:
    return Answer(decision, TokenUsage(5, 4, 3, 2, 1), Timings(queue=0.25, tokenize=1e-9, inference=61.5))


def respond(decision: Decision, **options: int) -> router_pb2.RouteResponse:
    request = router_pb2.RouteRequest(session_id="s", options=router_pb2.RouteOptions(**options))
    return write_response(
        answer(decision), Question(CODE, (), 0.0), request, Identity("sha256:1", "v", "cpu"), total=62.0
    )


RANKING = (Ranked("code", 0.75), Ranked("other", 0.25))
MATCHED = Decision("code", Outcome.MATCHED, 0.75, RANKING, ("large", "small"))


def test_a_response_says_everything() -> None:
    response = respond(MATCHED)
    assert (response.policy, response.outcome) == ("code", router_pb2.OUTCOME_MATCHED)
    assert response.probability == 0.75
    assert [(ranked.policy, ranked.probability) for ranked in response.ranking] == [
        ("code", 0.75),
        ("other", 0.25),
    ]
    assert list(response.models) == ["large", "small"]
    assert response.revisions == router_pb2.Revisions(
        bundle_digest="sha256:1",
        prompt_variant="v",
        policy_set="coding",
        policy_set_revision=CODE.revision,
        provider="cpu",
    )
    assert response.tokens == router_pb2.TokenUsage(
        prompt_tokens=5, cached_tokens=4, dropped_messages=2, dropped_tokens=3, forward_passes=1
    )
    assert response.timings.total.ToTimedelta().total_seconds() == 62
    assert response.timings.queue.ToNanoseconds() == 250_000_000
    assert response.timings.tokenize.ToNanoseconds() == 1
    assert response.timings.inference.ToNanoseconds() == 61_500_000_000
    assert response.session_id == "s"
    assert not response.from_decision_cache


def test_a_response_says_that_the_bundle_is_calibrated() -> None:
    question, identity = Question(CODE, (), 0.0), Identity("sha256:1", "v", "cpu", temperature=1.25)
    response = write_response(answer(MATCHED), question, router_pb2.RouteRequest(), identity, total=62.0)
    assert response.revisions.temperature == 1.25


def test_a_response_says_that_it_was_decided_before() -> None:
    recalled = dataclasses.replace(answer(MATCHED), from_decision_cache=True)
    question, identity = Question(CODE, (), 0.0), Identity("sha256:1", "v", "cpu")
    response = write_response(recalled, question, router_pb2.RouteRequest(), identity, total=62.0)
    assert response.from_decision_cache


@pytest.mark.parametrize("reason", FallbackReason)
def test_a_response_says_that_it_is_a_fallback(reason: FallbackReason) -> None:
    fallen = dataclasses.replace(answer(fallback(CODE)), fallback_reason=reason)
    question, identity = Question(CODE, (), 0.0), Identity("sha256:1", "v", "cpu")
    response = write_response(fallen, question, router_pb2.RouteRequest(), identity, total=62.0)
    assert response.outcome == router_pb2.OUTCOME_FALLBACK
    assert router_pb2.FallbackReason.Name(response.fallback_reason) == f"FALLBACK_REASON_{reason.name}"


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [(None, math.inf), (Duration(nanos=1), 1e-9), (Duration(seconds=2, nanos=5 * 10**8), 2.5)],
)
def test_a_budget_is_read(budget: Duration | None, seconds: float) -> None:
    options = router_pb2.RouteOptions(decide_by=budget)
    request = router_pb2.RouteRequest(messages=[user("hi")], options=options)
    assert read_question(request, SETS).decide_by == seconds


@pytest.mark.parametrize("budget", [Duration(), Duration(seconds=-1), Duration(nanos=-1)])
def test_a_budget_is_above_0(budget: Duration) -> None:
    options = router_pb2.RouteOptions(decide_by=budget)
    request = router_pb2.RouteRequest(messages=[user("hi")], options=options)
    assert list(violations(request)) == ["options.decide_by"]


def test_inline_policies_may_declare_a_default_that_is_one_of_them() -> None:
    policies = inline(router_pb2.Policy(name="a", description="b"))
    policies.default_policy = "a"
    request = router_pb2.RouteRequest(messages=[user("hi")], inline_policies=policies)
    assert read_question(request, SETS).policies.default_policy == "a"
    request.inline_policies.default_policy = "z"
    assert list(violations(request)) == ["inline_policies.default_policy"]


@pytest.mark.parametrize(("top_k", "length"), [(0, 2), (1, 1), (2, 2), (9, 2)])
def test_the_ranking_is_cut(top_k: int, length: int) -> None:
    assert len(respond(MATCHED, top_k=top_k).ranking) == length


def test_no_policy_is_an_empty_one() -> None:
    response = respond(Decision(None, Outcome.OTHER, 0.9, RANKING, ()))
    assert (response.policy, list(response.models)) == ("", [])
    assert response.outcome == router_pb2.OUTCOME_OTHER
