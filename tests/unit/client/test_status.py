import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from archroute import FieldViolation, errors, status
from archroute.v1 import router_pb2

ADDRESS = "router.test:50051"
KEY = "grpc-status-details-bin"


class FakeRpcError(grpc.RpcError):
    def __init__(
        self, code: grpc.StatusCode, details: str | None, metadata: tuple[tuple[str, bytes], ...] | None
    ) -> None:
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...] | None:  # type: ignore[override]
        return self._metadata


def packed(*details: Message) -> bytes:
    message = status_pb2.Status()
    for detail in details:
        message.details.add().Pack(detail)
    serialized: bytes = message.SerializeToString()
    return serialized


def failed(code: grpc.StatusCode, text: str | None = "said", *details: Message) -> FakeRpcError:
    return FakeRpcError(code, text, ((KEY, packed(*details)),) if details else ())


INFO = error_details_pb2.ErrorInfo(
    reason="POLICY_SET_NOT_FOUND", domain="archroute", metadata={"known": "a, b"}
)
BAD_REQUEST = error_details_pb2.BadRequest(
    field_violations=[
        error_details_pb2.BadRequest.FieldViolation(field="messages", description="has no user message"),
        error_details_pb2.BadRequest.FieldViolation(field="options.top_k", description="is too large"),
    ]
)


@pytest.mark.parametrize("code", list(grpc.StatusCode))
@pytest.mark.parametrize("reason", ["", "A_REASON"])
def test_every_error_names_the_address_and_what_the_server_said(code: grpc.StatusCode, reason: str) -> None:
    details = [error_details_pb2.ErrorInfo(reason=reason)] if reason else []
    error = status.call_failure(failed(code, "said", *details)).error(ADDRESS, 5.0)
    assert type(error) is errors.ERRORS[code]
    assert error.code is code
    assert error.reason == reason
    assert ADDRESS in str(error)
    assert "said" in str(error)
    assert reason in str(error)
    assert "{" not in str(error)


def test_details_become_attributes_and_text() -> None:
    rpc_error = failed(grpc.StatusCode.INVALID_ARGUMENT, "2 fields are wrong", INFO, BAD_REQUEST)
    error = status.call_failure(rpc_error).error(ADDRESS)
    assert error.reason == "POLICY_SET_NOT_FOUND"
    assert error.metadata == {"known": "a, b"}
    assert error.field_violations == (
        FieldViolation("messages", "has no user message"),
        FieldViolation("options.top_k", "is too large"),
    )
    assert str(error) == (
        "the archroute server at router.test:50051 refused the request: 2 fields are wrong; "
        "messages: has no user message; options.top_k: is too large [POLICY_SET_NOT_FOUND]"
    )


def test_a_violation_that_the_message_tells_is_not_told_twice() -> None:
    rpc_error = failed(grpc.StatusCode.INVALID_ARGUMENT, "messages: has no user message", BAD_REQUEST)
    assert str(status.call_failure(rpc_error).error(ADDRESS)).count("has no user message") == 1


def test_other_details_are_passed_over() -> None:
    rpc_error = failed(grpc.StatusCode.INTERNAL, "said", error_details_pb2.Help(), INFO)
    assert status.call_failure(rpc_error).reason == "POLICY_SET_NOT_FOUND"


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        (),
        (("other", b"\xff"),),
        ((KEY, b""),),
        ((KEY, b"\xff\xff\xff"),),
        (
            (
                KEY,
                status_pb2.Status(
                    details=[Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")]
                ).SerializeToString(),
            ),
        ),
    ],
)
def test_details_that_are_missing_or_malformed_leave_the_status(
    metadata: tuple[tuple[str, bytes], ...] | None,
) -> None:
    failure = status.call_failure(FakeRpcError(grpc.StatusCode.NOT_FOUND, None, metadata))
    assert failure == status.Failure(grpc.StatusCode.NOT_FOUND)
    assert isinstance(failure.error(ADDRESS), errors.PolicySetNotFoundError)


def test_nobody_there_is_told_from_a_server_that_is_not_ready() -> None:
    nobody = status.call_failure(failed(grpc.StatusCode.UNAVAILABLE, "connection refused"))
    starting = status.call_failure(
        failed(grpc.StatusCode.UNAVAILABLE, "warming up", error_details_pb2.ErrorInfo(reason="STARTING"))
    )
    assert str(nobody.error(ADDRESS)) == (
        "no archroute server answers at router.test:50051; start one with `archroute serve`, "
        "or check the address: connection refused"
    )
    assert "start one" not in str(starting.error(ADDRESS))


def test_a_deadline_is_told_in_seconds() -> None:
    failure = status.call_failure(failed(grpc.StatusCode.DEADLINE_EXCEEDED))
    assert "within 0.25 s" in str(failure.error(ADDRESS, 0.25))
    assert "inf" not in str(failure.error(ADDRESS))


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_an_error_of_a_stream_is_that_of_a_call(code: grpc.StatusCode) -> None:
    message = router_pb2.RouteError(
        code=code.value[0],
        reason="A_REASON",
        message="said",
        field_violations=[router_pb2.FieldViolation(field="messages", description="is empty")],
    )
    assert status.route_failure(message) == status.Failure(
        code, "said", "A_REASON", (FieldViolation("messages", "is empty"),)
    )


@pytest.mark.parametrize("number", [-1, 17, 1000])
def test_a_code_that_grpc_does_not_define_is_unknown(number: int) -> None:
    assert status.code_from_number(number) is grpc.StatusCode.UNKNOWN


def test_a_status_that_grpc_lost_is_not_blamed_on_the_server() -> None:
    lost = status.call_failure(failed(grpc.StatusCode.INTERNAL, "Internal error from Core"))
    assert isinstance(lost.error(ADDRESS), errors.UnavailableError)
    assert "while a request was being sent" in str(lost.error(ADDRESS))
    told = status.call_failure(failed(grpc.StatusCode.INTERNAL, "a bug"))
    assert isinstance(told.error(ADDRESS), errors.ServerError)


def test_a_refusal_says_when_to_try_again() -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    rpc_error = failed(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", INFO, retry)
    assert status.call_failure(rpc_error).error(ADDRESS).retry_after == 1.5
    assert status.call_failure(failed(grpc.StatusCode.RESOURCE_EXHAUSTED)).error(ADDRESS).retry_after is None


def test_a_refusal_on_a_stream_says_so_too() -> None:
    refused = router_pb2.RouteError(code=8, reason="QUEUE_FULL", retry_after=Duration(nanos=250_000_000))
    assert status.route_failure(refused).error(ADDRESS).retry_after == 0.25
    assert status.route_failure(router_pb2.RouteError(code=8)).error(ADDRESS).retry_after is None
