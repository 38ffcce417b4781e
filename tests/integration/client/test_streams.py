"""Many requests over one stream, against a real socket."""

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from archroute import AsyncRouter, Router, RouteRequest, errors
from archroute.v1 import router_pb2

HI = RouteRequest(messages="hi")
UNSENDABLE = RouteRequest(messages="\udc80")


def requests(*ids: str) -> list[tuple[str, RouteRequest]]:
    return [(request_id, HI) for request_id in ids]


def collected(client: Any, server: Any, what: Any, **options: Any) -> dict[str, str | None]:
    """The policies by their request's id, in the order in which they came."""
    found: list[tuple[str, Any]] = []
    client(server.address).stream(what, found.append, **options)
    assert len(dict(found)) == len(found)
    return {request_id: decision.policy for request_id, decision in found}


def answered(request_id: str) -> router_pb2.RouteStreamResponse:
    response = router_pb2.RouteResponse(policy=f"for-{request_id}", outcome=router_pb2.OUTCOME_MATCHED)
    return router_pb2.RouteStreamResponse(request_id=request_id, response=response)


def test_answers_carry_the_id_of_their_request(server: Any, client: Any) -> None:
    ids = [str(number) for number in range(50)]
    assert collected(client, server, requests(*ids)) == {each: f"for-{each}" for each in ids}


def test_answers_may_come_in_another_order(service: Any, server: Any, client: Any) -> None:
    service.answers = lambda asked, context: reversed([answered(each.request_id) for each in asked])
    found = collected(client, server, requests("a", "b", "c"))
    assert list(found.items()) == [("c", "for-c"), ("b", "for-b"), ("a", "for-a")]


def test_a_stream_without_requests_ends(server: Any, client: Any) -> None:
    assert collected(client, server, []) == {}


def test_an_id_may_be_used_again_after_its_answer(server: Any, client: Any) -> None:
    next_one: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def one_after_the_other() -> Iterator[tuple[str, RouteRequest]]:
        yield "same", HI
        next_one.get()
        yield "same", HI

    found: list[Any] = []

    def seen(answer: Any) -> None:
        found.append(answer)
        next_one.put(True)

    client(server.address).stream(one_after_the_other(), seen)
    assert [request_id for request_id, _ in found] == ["same", "same"]


def test_an_error_of_one_request_takes_its_place(service: Any, server: Any, client: Any) -> None:
    def answers(asked: Iterator[Any], context: object) -> Iterator[router_pb2.RouteStreamResponse]:
        for each in asked:
            if each.request_id != "bad":
                yield answered(each.request_id)
                continue
            error = router_pb2.RouteError(
                code=grpc.StatusCode.NOT_FOUND.value[0], reason="POLICY_SET_NOT_FOUND", message="no such set"
            )
            yield router_pb2.RouteStreamResponse(request_id="bad", error=error)

    service.answers = answers
    found: list[Any] = []
    client(server.address).stream(requests("a", "bad", "c"), found.append)
    [(_, a), (_, error), (_, c)] = found
    assert (a.policy, c.policy) == ("for-a", "for-c")
    assert type(error) is errors.PolicySetNotFoundError
    assert (error.reason, error.code) == ("POLICY_SET_NOT_FOUND", grpc.StatusCode.NOT_FOUND)
    assert server.address in str(error)


def test_an_answer_without_a_result_is_no_success(service: Any, server: Any, client: Any) -> None:
    service.answers = lambda asked, context: (
        router_pb2.RouteStreamResponse(request_id=each.request_id) for each in asked
    )
    found: list[Any] = []
    client(server.address).stream(requests("a"), found.append)
    [(request_id, error)] = found
    assert request_id == "a"
    assert type(error) is errors.ProtocolError


def test_a_request_that_cannot_be_sent_is_answered_at_once(server: Any, client: Any) -> None:
    """And not when the next answer of the server happens to come: the caller may wait for it."""
    next_one: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def one_after_the_other() -> Iterator[tuple[str, RouteRequest]]:
        yield "bad", UNSENDABLE
        next_one.get()
        yield "good", HI

    found: list[Any] = []

    def seen(answer: Any) -> None:
        found.append(answer)
        next_one.put(True)

    client(server.address).stream(one_after_the_other(), seen)
    [(bad, error), (good, decision)] = found
    assert (bad, type(error)) == ("bad", errors.InvalidRequestError)
    assert (good, decision.policy) == ("good", "for-good")


@pytest.mark.parametrize("bad_id", ["", "a", "\udc80", 7])
def test_an_id_that_cannot_be_answered_ends_the_stream(
    service: Any, server: Any, client: Any, bad_id: Any
) -> None:
    # Answers come when all requests are there, so that the first id is still waiting at its second use.
    service.answers = lambda asked, context: iter([answered(each.request_id) for each in asked])
    found: list[Any] = []
    with pytest.raises(errors.InvalidRequestError, match="request_id"):
        client(server.address).stream(requests("a", bad_id, "c"), found.append)
    assert [request_id for request_id, _ in found] == ["a"]


def test_an_error_of_the_callers_iterator_comes_out(server: Any, client: Any) -> None:
    def broken() -> Iterator[tuple[str, RouteRequest]]:
        yield from requests("a", "b")
        raise LookupError("no more")

    found: list[Any] = []
    with pytest.raises(LookupError, match="no more"):
        client(server.address).stream(broken(), found.append)
    assert [request_id for request_id, _ in found] == ["a", "b"]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT])
def test_a_status_ends_the_stream(service: Any, server: Any, client: Any, code: grpc.StatusCode) -> None:
    def answers(asked: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        # All of them first: grpc.aio loses the status of a stream that ends under its writer.
        first, *_ = asked
        yield answered(first.request_id)
        context.abort(code, "stopping")

    service.answers = answers
    found: list[Any] = []
    with pytest.raises(errors.ERRORS[code], match="stopping") as caught:
        client(server.address).stream(requests("a", "b"), found.append)
    assert [request_id for request_id, _ in found] == ["a"]
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_a_server_that_goes_away_ends_the_stream(
    service: Any, server: Any, client: Any, until_the_end: threading.Event
) -> None:
    def answers(asked: Iterator[Any], context: Any) -> Iterator[Any]:
        context.add_callback(until_the_end.set)
        yield answered(next(asked).request_id)
        until_the_end.wait()

    service.answers = answers
    stopping: list[threading.Thread] = []

    def seen(answer: Any) -> None:
        # From another thread, as an event loop must go on for the server to be able to stop.
        stopping.append(threading.Thread(target=server.stop))
        stopping[0].start()

    with pytest.raises(errors.ArchrouteError) as caught:
        client(server.address).stream(requests("a", "b"), seen)
    stopping[0].join()
    # Which of the two depends on whether the stream or its connection is broken off first.
    assert type(caught.value) in {errors.UnavailableError, errors.RequestCancelledError}


def test_requests_that_the_server_leaves_unanswered_are_not_lost_silently(
    service: Any, server: Any, client: Any
) -> None:
    service.answers = lambda asked, context: iter([answered(each.request_id) for each in asked][:1])
    with pytest.raises(errors.ProtocolError, match=r"ended the stream with 2 requests unanswered$"):
        collected(client, server, requests("a", "b", "c"))


def test_requests_that_could_not_be_sent_are_not_lost_silently(
    service: Any, server: Any, client: Any
) -> None:
    service.answers = lambda asked, context: iter([answered(next(asked).request_id)])
    endless = ((str(number), HI) for number in itertools.count())
    # The second where grpc.aio loses the status of a stream that ends under its writer.
    with pytest.raises(errors.ArchrouteError, match=r"and others not sent|while a request was being sent"):
        collected(client, server, endless)


def test_an_answer_to_a_question_that_was_not_asked_ends_the_stream(
    service: Any, server: Any, client: Any
) -> None:
    service.answers = lambda asked, context: (answered("other") for _ in asked)
    with pytest.raises(errors.ProtocolError, match="'other', which was not asked"):
        collected(client, server, requests("a"))


def test_an_answer_that_is_no_message_ends_the_stream(raw_server: Any, client: Any) -> None:
    with pytest.raises(errors.ArchrouteError):
        collected(client, raw_server(b"\xff\xff\xff"), requests("a"))


def test_a_server_that_is_gone_is_named(server: Any, client: Any) -> None:
    server.stop()
    with pytest.raises(errors.UnavailableError, match=f"no archroute server answers at {server.address}"):
        collected(client, server, requests("a"))


def test_a_stream_has_the_deadline_that_it_is_given(
    service: Any, server: Any, client: Any, until_the_end: threading.Event
) -> None:
    collected(client, server, requests("a"))
    [unlimited] = service.remaining
    assert unlimited is None or unlimited > 1e9

    def answers(asked: Iterator[Any], context: Any) -> Iterator[Any]:
        until_the_end.wait()
        return iter(())

    service.answers = answers
    with pytest.raises(errors.DeadlineExceededError, match=r"within 0\.05 s"):
        collected(client, server, requests("a"), timeout=0.05)


def test_a_stream_that_is_left_is_cancelled(service: Any, server: Any) -> None:
    left = threading.Event()

    def answers(asked: Iterator[Any], context: Any) -> Iterator[Any]:
        context.add_callback(left.set)
        yield answered(next(asked).request_id)
        left.wait()

    service.answers = answers
    with Router(server.address) as router:
        stream = router.route_stream(requests("a", "b"))
        assert next(stream)[0] == "a"
        stream.close()  # type: ignore[attr-defined]
        assert left.wait(60)


async def test_an_async_stream_that_is_left_is_cancelled(service: Any, server: Any) -> None:
    left = threading.Event()

    def answers(asked: Iterator[Any], context: Any) -> Iterator[Any]:
        context.add_callback(left.set)
        yield answered(next(asked).request_id)
        left.wait()

    service.answers = answers
    async with AsyncRouter(server.address) as router:
        stream = router.route_stream(requests("a", "b"))
        async for request_id, _ in stream:
            assert request_id == "a"
            break
        await stream.aclose()  # type: ignore[attr-defined]
    assert left.wait(60)
