"""What a caller gets from a server that runs as users run it."""

import json
import re
from pathlib import Path

import pytest

from archroute import (
    AsyncRouter,
    Decision,
    InvalidRequestError,
    Message,
    Outcome,
    PolicySetNotFoundError,
    Router,
    RouteRequest,
)
from support.server_process import ServerProcess, run_archroute

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Please fix this program"},
    {"role": "assistant", "content": "Which one?"},
    {"role": "user", "content": [{"type": "text", "text": "The one"}, {"type": "text", "text": "below"}]},
]


def check(decision: Decision, names: set[str]) -> None:
    """What is true of every decision with a whole ranking, whatever the weights say."""
    ranked = {each.policy: each.probability for each in decision.ranking}
    assert set(ranked) == names | {"other"}
    assert sum(ranked.values()) == pytest.approx(1)
    assert list(ranked.values()) == sorted(ranked.values(), reverse=True)
    if decision.outcome is Outcome.MATCHED:
        assert decision.policy in names
        assert decision.probability == ranked[decision.policy]
    else:
        assert decision.outcome is Outcome.OTHER
        assert decision.policy is None
        assert decision.probability == ranked["other"]


def test_the_default_policy_set(router: Router, bundle: Path) -> None:
    decision = router.route("What no other test asks", session_id="s-1")
    check(decision, {"code", "code_review", "travel"})
    assert decision.session_id == "s-1"
    assert decision.revisions.policy_set == "gateway"
    assert decision.revisions.provider == "cpu"
    assert (
        decision.revisions.prompt_variant
        == json.loads((bundle / "manifest.json").read_text())["prompt"]["variant"]
    )
    assert re.fullmatch("sha256:[0-9a-f]{64}", decision.revisions.bundle_digest)
    assert not decision.from_decision_cache
    assert decision.tokens.forward_passes == 1
    assert decision.tokens.dropped_messages == decision.tokens.dropped_tokens == 0
    assert decision.timings.total >= decision.timings.inference > 0


def test_the_same_question_has_the_same_answer(router: Router) -> None:
    first, second = router.route(CONVERSATION), router.route(CONVERSATION)
    assert second.from_decision_cache
    assert second.tokens.forward_passes == 0
    assert (first.policy, first.outcome, first.ranking) == (second.policy, second.outcome, second.ranking)


def test_a_conversation_that_goes_on_reuses_what_was_read(router: Router) -> None:
    turns = [*CONVERSATION, Message("user", "And now by train, please")]
    first, second = router.route(CONVERSATION), router.route(turns)
    assert not second.from_decision_cache
    assert 0 < second.tokens.cached_tokens < first.tokens.prompt_tokens


def test_a_named_policy_set(router: Router) -> None:
    decision = router.route("Hello", policy_set="gateway")
    assert decision.revisions.policy_set == "gateway"
    assert decision.revisions.policy_set_revision == router.get_policy_set("gateway").revision


def test_policies_that_come_with_the_request(router: Router) -> None:
    policies = [
        {"name": "sea", "description": "Ships and fish", "models": ["m1", "m2"]},
        {"name": "sky", "description": "Clouds and birds", "models": ["m3"]},
    ]
    decision = router.route([Message("user", "A gull")], policies=policies)
    check(decision, {"sea", "sky"})
    assert decision.revisions.policy_set == ""
    expected = {"sea": ("m1", "m2"), "sky": ("m3",), None: ()}
    assert decision.models == expected[decision.policy]


def test_options(router: Router) -> None:
    whole = router.route(CONVERSATION)
    cut = router.route(CONVERSATION, top_k=2)
    assert [each.policy for each in cut.ranking] == [each.policy for each in whole.ranking[:2]]
    unsure = router.route(CONVERSATION, min_probability=1)
    assert (unsure.outcome, unsure.policy, unsure.models) == (Outcome.LOW_CONFIDENCE, None, ())
    assert unsure.probability == pytest.approx(whole.probability, abs=1e-3)


def test_policy_sets_are_listed_and_shown(router: Router) -> None:
    listed = router.list_policy_sets()
    assert [(each.name, each.policy_count, each.is_default) for each in listed] == [
        ("awkward", 7, False),
        ("gateway", 3, True),
    ]
    shown = router.get_policy_set()
    assert (shown.name, shown.revision) == ("gateway", listed[1].revision)
    assert [policy.name for policy in shown.policies] == ["code", "code_review", "travel"]
    assert shown.policies[0].models == ("large-coder", "small-coder")


def test_a_stream_answers_good_and_bad_requests(router: Router) -> None:
    requests = {
        "default": RouteRequest(messages=CONVERSATION),
        "absent": RouteRequest(messages="Hello", policy_set="absent"),
        "awkward": RouteRequest(messages="Hello", policy_set="awkward"),
        "silent": RouteRequest(messages=[]),
        "unsendable": RouteRequest(messages="\ud800"),
    }
    answers = dict(router.route_stream(requests.items()))
    assert answers.keys() == requests.keys()
    assert isinstance(answers["default"], Decision)
    assert isinstance(answers["awkward"], Decision)
    assert isinstance(answers["absent"], PolicySetNotFoundError)
    assert isinstance(answers["silent"], InvalidRequestError)
    assert isinstance(answers["unsendable"], InvalidRequestError)
    assert answers["default"].policy == router.route(CONVERSATION).policy


async def test_the_async_client(server: ServerProcess) -> None:
    async with AsyncRouter(server.address, timeout=60) as router:
        check(await router.route(CONVERSATION), {"code", "code_review", "travel"})
        answers = [answer async for answer in router.route_stream([("1", RouteRequest(messages="Hello"))])]
        assert [request_id for request_id, _ in answers] == ["1"]
        assert isinstance(answers[0][1], Decision)


def test_the_command_line(server: ServerProcess, router: Router) -> None:
    asked = ("route", "Please fix this program", "--address", server.address)
    shown = run_archroute(*asked)
    assert (shown.returncode, shown.stderr) == (0, "")
    expected = router.route("Please fix this program")
    first, _, *ranking = shown.stdout.splitlines()
    assert first.startswith(expected.policy or "no policy fits")
    assert ranking[0].lstrip("> ").startswith(expected.ranking[0].policy)

    document = json.loads(run_archroute(*asked, "--json").stdout)
    assert (document["policy"], document["outcome"]) == (expected.policy, expected.outcome.value)
    assert document["probability"] == pytest.approx(expected.probability, abs=1e-3)


def test_the_command_line_with_a_conversation_and_policies_of_its_own(
    server: ServerProcess, policies: Path
) -> None:
    decided = run_archroute(
        *("route", "--messages", "-", "--policies", policies, "--policy-set", "awkward", "--json"),
        stdin=json.dumps(CONVERSATION),
        variables={"ARCHROUTE_ADDRESS": server.address},
    )
    assert decided.returncode == 0, decided.stderr
    document = json.loads(decided.stdout)
    assert {"code_", "🧭 où"} < {each["policy"] for each in document["ranking"]}
    assert document["revisions"]["policy_set"] == ""


def test_the_command_line_says_what_is_wrong(server: ServerProcess) -> None:
    refused = run_archroute("route", "Hello", "--policy-set", "absent", "--address", server.address)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("archroute: ")
    assert "'absent'" in refused.stderr
    assert "POLICY_SET_NOT_FOUND" in refused.stderr
    assert refused.stderr.count("\n") == 1
