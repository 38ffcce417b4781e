import pytest
from google.protobuf.duration_pb2 import Duration

from archroute import Decision, Outcome, ProtocolError
from archroute.decision import from_response
from archroute.v1 import router_pb2

ADDRESS = "router.test:50051"


def response(outcome: int = router_pb2.OUTCOME_MATCHED) -> router_pb2.RouteResponse:
    message = router_pb2.RouteResponse(
        policy="code_generation",
        probability=0.875,
        ranking=[
            router_pb2.RankedPolicy(policy="code_generation", probability=0.875),
            router_pb2.RankedPolicy(policy="bug_fixing", probability=0.1),
            router_pb2.RankedPolicy(policy="other", probability=0.025),
        ],
        models=["large-coder", "small-coder"],
        revisions=router_pb2.Revisions(
            bundle_digest="sha256:" + "ab" * 32,
            prompt_variant="arch-router/model-card",
            policy_set="llm-gateway",
            policy_set_revision="sha256:" + "cd" * 32,
            provider="cpu",
        ),
        tokens=router_pb2.TokenUsage(
            prompt_tokens=412, cached_tokens=380, dropped_tokens=0, dropped_messages=0, forward_passes=1
        ),
        timings=router_pb2.Timings(
            total=Duration(nanos=41_300_000),
            queue=Duration(nanos=100_000),
            tokenize=Duration(nanos=2_000_000),
            inference=Duration(nanos=38_000_000),
        ),
        session_id="session-7",
    )
    # Through the wire, since a number that the enum lacks can only be read.
    return router_pb2.RouteResponse.FromString(message.SerializeToString() + bytes([0x10, outcome]))


def test_an_answer_is_read_whole(decision: Decision) -> None:
    assert from_response(response(), ADDRESS) == decision


def test_an_answer_may_have_been_decided_before() -> None:
    message = response()
    message.from_decision_cache = True
    assert from_response(message, ADDRESS).from_decision_cache


def test_what_decided_may_be_calibrated(decision: Decision) -> None:
    message = response()
    message.revisions.temperature = 1.5
    assert decision.revisions.temperature is None
    assert from_response(message, ADDRESS).revisions.temperature == 1.5


def test_seconds_and_nanoseconds_are_added() -> None:
    message = response()
    message.timings.total.CopyFrom(Duration(seconds=2, nanos=500_000_000))
    assert from_response(message, ADDRESS).timings.total == 2.5


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (router_pb2.OUTCOME_OTHER, Outcome.OTHER),
        (router_pb2.OUTCOME_LOW_CONFIDENCE, Outcome.LOW_CONFIDENCE),
        (99, Outcome.UNRECOGNIZED),
    ],
)
def test_only_a_match_names_a_policy(number: int, outcome: Outcome) -> None:
    decision = from_response(response(number), ADDRESS)
    assert (decision.outcome, decision.policy, decision.models) == (outcome, None, ())
    assert decision.probability == 0.875
    assert len(decision.ranking) == 3


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (router_pb2.FALLBACK_REASON_DECIDE_BY_PASSED, "decide_by_passed"),
        (router_pb2.FALLBACK_REASON_DECIDE_BY_UNREACHABLE, "decide_by_unreachable"),
        (router_pb2.FALLBACK_REASON_UNSPECIFIED, ""),
    ],
)
def test_a_fallback_names_the_default_policy_and_says_why(number: int, reason: str) -> None:
    message = response(router_pb2.OUTCOME_FALLBACK)
    message.fallback_reason = number
    decision = from_response(message, ADDRESS)
    assert (decision.outcome, decision.policy) == (Outcome.FALLBACK, "code_generation")
    assert decision.models == ("large-coder", "small-coder")
    assert decision.fallback_reason == reason


def test_a_fallback_may_name_no_policy() -> None:
    message = response(router_pb2.OUTCOME_FALLBACK)
    message.policy = ""
    decision = from_response(message, ADDRESS)
    assert (decision.outcome, decision.policy, decision.models) == (Outcome.FALLBACK, None, ())


def test_every_outcome_of_the_protocol_but_unspecified_is_known() -> None:
    for number in router_pb2.Outcome.values():
        if number != router_pb2.OUTCOME_UNSPECIFIED:
            assert from_response(response(number), ADDRESS).outcome is not Outcome.UNRECOGNIZED


def test_an_answer_without_an_outcome_is_none() -> None:
    for empty in (response(router_pb2.OUTCOME_UNSPECIFIED), router_pb2.RouteResponse()):
        with pytest.raises(ProtocolError, match=ADDRESS):
            from_response(empty, ADDRESS)


def test_a_match_must_name_its_policy() -> None:
    message = response()
    message.policy = ""
    with pytest.raises(ProtocolError, match="names no policy"):
        from_response(message, ADDRESS)
