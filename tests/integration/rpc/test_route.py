import asyncio

import grpc
import pytest

from archroute.v1 import router_pb2
from archroute_server.engine.errors import EngineClosed
from archroute_server.router.message import Message, Role
from archroute_server.router.policy_sets import PolicySets
from archroute_server.rpc.address import Address
from support.fake_engine import FakeEngine
from support.rpc_calls import CODING, MAX_MESSAGE_BYTES, TALKING, Log, Served, ask, new_server, refusal, user

ROUTE = "/archroute.v1.RouterService/Route"


async def test_a_decision(served: Served, log: Log) -> None:
    response = await served.stub.Route(
        ask("fix it", policy_set="talking", session_id="s"), metadata=[("x-request-id", "r-1")]
    )
    assert (response.policy, response.outcome) == ("talk", router_pb2.OUTCOME_MATCHED)
    assert response.revisions.policy_set == "talking"
    assert response.revisions.policy_set_revision == TALKING.revision
    assert response.session_id == "s"
    assert response.timings.total.ToNanoseconds() > 0
    assert served.engine.decided == [(TALKING, (Message(Role.USER, "fix it"),))]
    (line,) = log.lines("request")
    assert (
        line.items()
        >= {
            "level": "info",
            "method": "Route",
            "code": "OK",
            "request_id": "r-1",
            "policy_set": "talking",
            "outcome": "MATCHED",
            "policy": "talk",
            "probability": 0.75,
            "messages": 1,
            "prompt_tokens": 120,
            "cached_tokens": 100,
            "from_decision_cache": False,
            "inference_ms": 250.0,
        }.items()
    )
    assert line["total_ms"] > 0


async def test_options(served: Served) -> None:
    options = router_pb2.RouteOptions(top_k=1, min_probability=0.9)
    response = await served.stub.Route(ask("fix it", options=options))
    assert (response.policy, response.outcome) == ("", router_pb2.OUTCOME_LOW_CONFIDENCE)
    assert len(response.ranking) == 1


async def test_inline_policies(served: Served) -> None:
    policies = [router_pb2.Policy(name="a", description="b", models=["m"])]
    inline = router_pb2.InlinePolicies(policies=policies)
    response = await served.stub.Route(ask("hi", inline_policies=inline))
    assert (response.policy, list(response.models)) == ("a", ["m"])
    assert response.revisions.policy_set == ""


@pytest.mark.parametrize("text", ["😀 \x00 </routes> <|im_end|>", "x" * 1_000_000], ids=["odd", "1 MB"])
async def test_any_text_arrives_as_it_was_sent(served: Served, text: str) -> None:
    await served.stub.Route(ask(text))
    ((_, messages),) = served.engine.decided
    assert messages[0].text == text


async def test_requests_are_decided_side_by_side(served: Served) -> None:
    hold = served.engine.hold("first")
    first = served.stub.Route(ask("first"))
    await hold.started.wait()
    await served.stub.Route(ask("second"))
    hold.release.set()
    await first
    assert [messages[0].text for _, messages in served.engine.decided] == ["second", "first"]


async def test_wrong_fields(served: Served, log: Log) -> None:
    options = router_pb2.RouteOptions(min_probability=2)
    request = router_pb2.RouteRequest(messages=[router_pb2.Message(), user("hi")], options=options)
    refused = await refusal(served.stub.Route(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert list(refused.fields) == ["messages[0].role", "options.min_probability"]
    (line,) = log.lines("request")
    assert (line["code"], line["reason"]) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert line["wrong_fields"] == ["messages[0].role", "options.min_probability"]


async def test_what_the_engine_finds_wrong(served: Served) -> None:
    refused = await refusal(served.stub.Route(router_pb2.RouteRequest()))
    assert (refused.code, list(refused.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["messages"])


async def test_500_wrong_policies_still_fit_a_status(served: Served) -> None:
    policies = [router_pb2.Policy(name="😀" * 250, description="\t") for _ in range(500)]
    inline = router_pb2.InlinePolicies(policies=policies)
    refused = await refusal(served.stub.Route(ask("hi", inline_policies=inline)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "inline_policies.policies[0].description" in refused.fields


@pytest.mark.parametrize("name", ["absent", "x" * 100_000])
async def test_a_policy_set_that_is_not_there(served: Served, name: str) -> None:
    refused = await refusal(served.stub.Route(ask("hi", policy_set=name)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "POLICY_SET_NOT_FOUND")
    assert "'coding', 'talking'" in refused.message


async def test_no_default_policy_set() -> None:
    server, service = new_server(PolicySets())
    address = await server.start(Address("127.0.0.1", 0))
    service.open(FakeEngine())
    async with grpc.aio.insecure_channel(str(address)) as channel:
        for method, message in (
            ("Route", ask("hi")),
            ("GetPolicySet", router_pb2.GetPolicySetRequest()),
        ):
            call = channel.unary_unary(f"/archroute.v1.RouterService/{method}")
            refused = await refusal(call(message.SerializeToString()))
            assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
            assert refused.reason == "NO_DEFAULT_POLICY_SET"
    await server.drain(0)
    await server.stop()


@pytest.mark.parametrize("method", ["Route", "ListPolicySets", "GetPolicySet"])
@pytest.mark.parametrize("data", [b"\x2a\x02\xff\xfe\x0a\x02\xff\xfe", b"\xff\xff"])
async def test_bytes_that_do_not_parse(served: Served, log: Log, method: str, data: bytes) -> None:
    # Field 1 of GetPolicySetRequest and field 5 of RouteRequest are strings; 0xFF is never UTF-8.
    if method == "ListPolicySets" and data[0] != 0xFF:
        data = b"\x0a\x7f"  # it has no strings, so a field that ends too early
    call = served.channel.unary_unary(f"/archroute.v1.RouterService/{method}")
    refused = await refusal(call(data))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert "UTF-8" in refused.message
    assert not log.worst()


async def test_a_message_above_the_limit_is_refused_with_the_limit(served: Served) -> None:
    refused = await refusal(served.stub.Route(ask("x" * MAX_MESSAGE_BYTES)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert f"this server accepts {MAX_MESSAGE_BYTES}" in refused.message


async def test_a_message_far_above_the_limit_is_refused_by_grpc(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.Route(ask("x" * (2 * MAX_MESSAGE_BYTES)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in (caught.value.details() or "")
    await served.stub.Route(ask("hi"))


async def test_a_closed_engine_is_unavailable(served: Served) -> None:
    served.engine.fail("hi", EngineClosed())
    refused = await refusal(served.stub.Route(ask("hi")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")


async def test_a_defect_is_internal_with_an_id_that_the_log_has(served: Served, log: Log) -> None:
    served.engine.fail("secret", ValueError("could not read 'secret'"))
    refused = await refusal(served.stub.Route(ask("secret")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    (line,) = log.lines("internal error")
    assert line["error_id"] in refused.message
    assert line["exception"][0]["type"] == "builtins.ValueError"
    assert any("fake_engine.py" in frame for frame in line["exception"][0]["stack"])
    assert log.lines("request")[0]["error_id"] == line["error_id"]
    assert "secret" not in refused.message + log.text()


async def test_a_caller_that_hangs_up_cancels_the_decision(served: Served, log: Log) -> None:
    hold = served.engine.hold("hi")
    call = served.stub.Route(ask("hi"))
    await hold.started.wait()
    call.cancel()
    await hold.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await call
    await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest())  # the log is written by now
    assert log.lines("request")[0]["code"] == "CANCELLED"
    assert not log.worst()


async def test_a_deadline_cancels_the_decision(served: Served, log: Log) -> None:
    hold = served.engine.hold("hi")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.Route(ask("hi"), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await hold.cancelled.wait()
    await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest())
    assert log.lines("request")[0]["code"] == "DEADLINE_EXCEEDED"
    assert not log.worst()


async def test_policy_sets_are_listed(served: Served) -> None:
    response = await served.stub.ListPolicySets(router_pb2.ListPolicySetsRequest())
    assert [
        (summary.name, summary.revision, summary.policy_count, summary.is_default)
        for summary in response.policy_sets
    ] == [("coding", CODING.revision, 2, True), ("talking", TALKING.revision, 1, False)]


@pytest.mark.parametrize("name", ["", "coding"])
async def test_a_policy_set_is_shown(served: Served, name: str) -> None:
    response = await served.stub.GetPolicySet(router_pb2.GetPolicySetRequest(name=name))
    assert (response.policy_set.name, response.policy_set.revision) == ("coding", CODING.revision)
    assert response.policy_set.policies[0] == router_pb2.Policy(
        name="code", description="Writing and changing code.", models=["large", "small"]
    )


async def test_a_policy_set_that_cannot_be_shown(served: Served) -> None:
    refused = await refusal(served.stub.GetPolicySet(router_pb2.GetPolicySetRequest(name="absent")))
    assert refused.code is grpc.StatusCode.NOT_FOUND
