"""Single calls of both clients against a real socket."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from archroute import AsyncRouter, Outcome, Policy, PolicySet, PolicySetSummary, Router, errors
from archroute.v1 import router_pb2

DETAILS = "grpc-status-details-bin"


def aborting(
    code: grpc.StatusCode, text: str, trailers: tuple[tuple[str, bytes], ...] = ()
) -> Callable[[Any, grpc.ServicerContext], router_pb2.RouteResponse]:
    def answer(request: Any, context: grpc.ServicerContext) -> router_pb2.RouteResponse:
        context.set_trailing_metadata(trailers)
        context.abort(code, text)

    return answer


def test_a_decision_comes_back(server: Any, client: Any) -> None:
    decision = client(server.address).call("route", "write a test", policy_set="gateway", session_id="s")
    assert (decision.policy, decision.outcome, decision.probability) == (
        "code_generation",
        Outcome.MATCHED,
        0.75,
    )
    [request] = server.service.requests
    assert request == router_pb2.RouteRequest(
        policy_set="gateway",
        messages=[
            router_pb2.Message(role=router_pb2.ROLE_USER, parts=[router_pb2.Part(text="write a test")])
        ],
        options=router_pb2.RouteOptions(),
        session_id="s",
    )


def test_a_budget_goes_with_the_request(server: Any, client: Any) -> None:
    client(server.address).call("route", "write a test", decide_by=0.25)
    [request] = server.service.requests
    assert request.options.decide_by.ToNanoseconds() == 250_000_000


def test_a_refusal_says_when_to_try_again(service: Any, server: Any, client: Any) -> None:
    details = status_pb2.Status(code=8)
    details.details.add().Pack(error_details_pb2.ErrorInfo(reason="QUEUE_FULL"))
    details.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2)))
    trailers = ((DETAILS, details.SerializeToString()), ("grpc-retry-pushback-ms", "2000"))
    service.answer = aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", trailers)
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        client(server.address).call("route", "write a test")
    assert (caught.value.reason, caught.value.retry_after) == ("QUEUE_FULL", 2.0)


def test_policies_go_with_the_request(server: Any, client: Any) -> None:
    client(server.address).call("route", "hi", policies=[Policy("code", "Writing code", ("a",))])
    [request] = server.service.requests
    assert request.inline_policies.policies == [
        router_pb2.Policy(name="code", description="Writing code", models=["a"])
    ]


def test_a_long_conversation_fits(server: Any, client: Any) -> None:
    client(server.address).call("route", "ü" * 1_000_000)
    assert len(server.service.requests[0].messages[0].parts[0].text) == 1_000_000


def test_policy_sets_are_listed(server: Any, client: Any) -> None:
    assert client(server.address).call("list_policy_sets") == (
        PolicySetSummary("gateway", "sha256:1", 2, True),
    )


@pytest.mark.parametrize(("name", "shown"), [((), "gateway"), (("mine",), "mine")])
def test_a_policy_set_is_shown(server: Any, client: Any, name: tuple[str, ...], shown: str) -> None:
    assert client(server.address).call("get_policy_set", *name) == PolicySet(
        shown, "sha256:1", (Policy("code", "Writing code", ("a", "b")),)
    )


@pytest.mark.parametrize("method", ["route", "list_policy_sets", "get_policy_set"])
def test_every_call_has_a_deadline(server: Any, client: Any, method: str) -> None:
    arguments = ("hi",) if method == "route" else ()
    for built, called in (({}, {}), ({"timeout": 300}, {}), ({"timeout": 300}, {"timeout": float("inf")})):
        client(server.address, **built).call(method, *arguments, **called)
    default, own, none = server.service.remaining
    # Far enough apart for the rounding of deadlines on the wire not to matter.
    assert 0 < default < 60 < own < 600
    # What gRPC says of a call without a deadline: None, or the age of the universe, by the version.
    assert none is None or none > 1e9


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_is_an_error(service: Any, server: Any, client: Any, code: grpc.StatusCode) -> None:
    service.answer = aborting(code, "what the server says")
    with pytest.raises(errors.ArchrouteError) as caught:
        client(server.address).call("route", "hi")
    assert type(caught.value) is errors.ERRORS[code]
    assert caught.value.code is code
    assert server.address in str(caught.value)
    assert "what the server says" in str(caught.value)
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_rich_errors_arrive(service: Any, server: Any, client: Any) -> None:
    details = status_pb2.Status(code=3)
    details.details.add().Pack(error_details_pb2.ErrorInfo(reason="NO_MESSAGES", metadata={"limit": "16"}))
    violation = error_details_pb2.BadRequest.FieldViolation(field="messages", description="is empty")
    details.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    trailers = ((DETAILS, details.SerializeToString()),)
    service.answer = aborting(grpc.StatusCode.INVALID_ARGUMENT, "1 field is wrong", trailers)
    with pytest.raises(errors.InvalidRequestError, match=r"messages: is empty \[NO_MESSAGES\]") as caught:
        client(server.address).call("route", [])
    assert caught.value.reason == "NO_MESSAGES"
    assert caught.value.metadata == {"limit": "16"}
    assert caught.value.field_violations == (errors.FieldViolation("messages", "is empty"),)


def test_malformed_details_leave_the_error(service: Any, server: Any, client: Any) -> None:
    service.answer = aborting(grpc.StatusCode.NOT_FOUND, "no such set", ((DETAILS, b"\xff\xff\xff"),))
    with pytest.raises(errors.PolicySetNotFoundError, match="no such set") as caught:
        client(server.address).call("route", "hi", policy_set="mine")
    assert (caught.value.reason, caught.value.field_violations) == ("", ())


def test_a_bug_of_the_server_is_a_server_error(service: Any, server: Any, client: Any) -> None:
    def answer(request: object, context: object) -> router_pb2.RouteResponse:
        raise RuntimeError("a bug")

    service.answer = answer
    with pytest.raises(errors.ServerError, match="its log says why"):
        client(server.address).call("route", "hi")


def test_a_late_answer_is_an_error(
    service: Any, server: Any, client: Any, until_the_end: threading.Event
) -> None:
    def answer(request: object, context: object) -> router_pb2.RouteResponse:
        until_the_end.wait()
        return router_pb2.RouteResponse()

    service.answer = answer
    with pytest.raises(errors.DeadlineExceededError, match=r"within 0\.05 s") as caught:
        client(server.address).call("route", "hi", timeout=0.05)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_server_that_is_gone_is_named(server: Any, client: Any) -> None:
    server.stop()
    with pytest.raises(errors.UnavailableError) as caught:
        client(server.address).call("route", "hi")
    assert f"no archroute server answers at {server.address}; start one with `archroute serve`" in str(
        caught.value
    )


def test_a_client_outlives_its_server(server: Any) -> None:
    with Router(server.address) as router:
        assert router.route("hi").policy == "code_generation"
        server.stop()
        with pytest.raises(errors.UnavailableError):
            router.route("hi")


def test_a_server_of_another_service_is_told(raw_server: Any, client: Any) -> None:
    with pytest.raises(errors.ProtocolError, match="check the address") as caught:
        client(raw_server(b"").address).call("list_policy_sets")
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "answer", [b"", router_pb2.RouteResponse(policy="code", probability=1.0).SerializeToString()]
)
def test_an_answer_without_an_outcome_is_no_success(raw_server: Any, client: Any, answer: bytes) -> None:
    with pytest.raises(errors.ProtocolError, match="no outcome"):
        client(raw_server(answer).address).call("route", "hi")


def test_an_answer_that_is_no_message_is_an_error(raw_server: Any, client: Any) -> None:
    with pytest.raises(errors.ProtocolError, match="cannot be parsed"):
        client(raw_server(b"\xff\xff\xff").address).call("route", "hi")


def test_an_outcome_of_the_future_is_no_match(raw_server: Any, client: Any) -> None:
    answer = router_pb2.RouteResponse(policy="code").SerializeToString() + bytes([0x10, 99])
    decision = client(raw_server(answer).address).call("route", "hi")
    assert (decision.outcome, decision.policy) == (Outcome.UNRECOGNIZED, None)


def test_what_cannot_be_sent_is_not(server: Any, client: Any) -> None:
    with pytest.raises(errors.InvalidRequestError, match=r"messages\[0\]\.content"):
        client(server.address).call("route", "\udc80")
    assert server.service.requests == []


def test_channel_options_and_credentials_reach_the_channel(server: Any, client: Any) -> None:
    small = client(server.address, options=[("grpc.max_send_message_length", 10)])
    with pytest.raises(errors.ResourceExhaustedError):
        small.call("route", "longer than ten bytes")
    encrypted = client(server.address, credentials=grpc.ssl_channel_credentials())
    with pytest.raises(errors.UnavailableError):
        encrypted.call("route", "hi")


def test_threads_share_a_client(server: Any) -> None:
    found: list[str | None] = []
    with Router(server.address) as router:
        threads = [threading.Thread(target=lambda: found.append(router.route("hi").policy)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["code_generation"] * 8


async def test_tasks_share_a_client(server: Any) -> None:
    async with AsyncRouter(server.address) as router:
        decisions = await asyncio.gather(*(router.route("hi") for _ in range(8)))
    assert [decision.policy for decision in decisions] == ["code_generation"] * 8


async def test_cancelling_a_task_cancels_its_call(service: Any, server: Any) -> None:
    loop = asyncio.get_running_loop()
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    def answer(request: object, context: Any) -> router_pb2.RouteResponse:
        broken_off = threading.Event()
        context.add_callback(broken_off.set)
        loop.call_soon_threadsafe(arrived.set)
        broken_off.wait()
        loop.call_soon_threadsafe(cancelled.set)
        return router_pb2.RouteResponse()

    service.answer = answer
    async with AsyncRouter(server.address, timeout=60) as router:
        task = asyncio.create_task(router.route("hi"))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await cancelled.wait()


def test_an_async_client_may_be_made_before_its_event_loop(server: Any) -> None:
    router = AsyncRouter(server.address)

    async def route() -> str | None:
        async with router:
            return (await router.route("hi")).policy

    assert asyncio.run(route()) == "code_generation"
