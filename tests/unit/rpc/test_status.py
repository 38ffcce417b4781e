import inspect
from types import ModuleType

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from archroute_server.engine import errors as engine_errors
from archroute_server.engine.errors import DeadlineExceeded, EngineClosed, QueueFull
from archroute_server.router import errors as router_errors
from archroute_server.router.errors import MAX_VIOLATIONS, InvalidRequest, PolicySetNotFound, Violation
from archroute_server.rpc import errors as rpc_errors
from archroute_server.rpc.status import DETAILS_KEY, PUSHBACK_KEY, STATUS_RULES, Failure, shorten

# What a gRPC client accepts by default, of which other metadata takes a little.
METADATA_LIMIT = 8192


def error_classes(module: ModuleType) -> list[type[Exception]]:
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception) and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize(
    "error_class",
    [*error_classes(router_errors), *error_classes(engine_errors), *error_classes(rpc_errors)],
    ids=lambda error_class: error_class.__name__,
)
def test_every_error_of_the_rooms_below_has_a_status(error_class: type[Exception]) -> None:
    if error_class not in (rpc_errors.CallError, engine_errors.Overloaded):  # never raised themselves
        assert error_class in STATUS_RULES


def details(failure: Failure) -> tuple[ErrorInfo, BadRequest]:
    status = Status.FromString(failure.to_status().SerializeToString())
    info, bad_request = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    if len(status.details) > 1:
        assert status.details[1].Unpack(bad_request)
    return info, bad_request


def test_an_invalid_request_names_its_fields() -> None:
    failure = Failure.of(InvalidRequest(Violation("messages", "is empty"), Violation("a.b", "is odd")))
    assert failure.rule.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.to_status().code == 3
    assert failure.message == "messages: is empty; a.b: is odd"
    info, bad_request = details(failure)
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "archroute")
    assert [(v.field, v.description) for v in bad_request.field_violations] == [
        ("messages", "is empty"),
        ("a.b", "is odd"),
    ]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (PolicySetNotFound("a", ["b"]), grpc.StatusCode.NOT_FOUND, "POLICY_SET_NOT_FOUND"),
        (EngineClosed(), grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING"),
        (DeadlineExceeded(), grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (engine_errors.ModelStalled(), grpc.StatusCode.UNAVAILABLE, "MODEL_STALLED"),
        (rpc_errors.NoDefaultPolicySet(), grpc.StatusCode.FAILED_PRECONDITION, "NO_DEFAULT_POLICY_SET"),
        (rpc_errors.MessageTooLarge(2, 1), grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    ],
)
def test_an_error_without_fields(error: Exception, code: grpc.StatusCode, reason: str) -> None:
    failure = Failure.of(error)
    assert failure.rule.code is code
    info, bad_request = details(failure)
    assert info.reason == reason
    assert not bad_request.field_violations
    assert not failure.error_id


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (engine_errors.ModelFailed(), "MODEL_FAILED", "the model failed"),
        (engine_errors.ModelOutputInvalid(), "MODEL_OUTPUT_INVALID", "no numbers"),
        (ValueError("secret"), "INTERNAL", "internal error"),
    ],
)
def test_a_fault_of_the_server_has_an_id_to_look_for_in_its_log(
    error: Exception, reason: str, words: str
) -> None:
    failure = Failure.of(error)
    assert (failure.rule.code, failure.rule.reason) == (grpc.StatusCode.INTERNAL, reason)
    assert words in failure.message
    assert failure.error_id in failure.message
    assert len(failure.error_id) == 32
    assert "secret" not in failure.message


def test_a_subclass_is_told_like_its_base() -> None:
    class Special(EngineClosed):
        pass

    assert Failure.of(Special()).rule is STATUS_RULES[EngineClosed]


def test_a_refusal_says_when_to_come_back() -> None:
    failure = Failure.of(QueueFull(9, "requests", "--queue-requests", 0.0101))
    retry = RetryInfo()
    assert failure.to_status().details[1].Unpack(retry)
    assert retry.retry_delay == failure.to_route_error().retry_after == Duration(nanos=10_100_000)
    # Whole milliseconds, and never too early.
    assert dict(failure.trailing_metadata())[PUSHBACK_KEY] == "11"


def test_what_was_not_foreseen_is_internal_and_its_text_stays_inside() -> None:
    failure = Failure.of(ValueError("secret"))
    other = Failure.of(ValueError("secret"))
    assert failure.rule.code is grpc.StatusCode.INTERNAL
    assert "secret" not in str(failure.to_status())
    assert failure.error_id in failure.message
    assert failure.error_id != other.error_id


def test_a_stream_is_told_the_same_as_a_unary_call() -> None:
    failure = Failure.of(InvalidRequest(Violation("messages", "is empty")))
    status, error = failure.to_status(), failure.to_route_error()
    assert (error.code, error.message) == (status.code, status.message)
    info, bad_request = details(failure)
    assert error.reason == info.reason
    assert [(v.field, v.description) for v in error.field_violations] == [
        (v.field, v.description) for v in bad_request.field_violations
    ]


def size_in_metadata(failure: Failure) -> int:
    message = sum(1 if 32 <= byte < 127 else 3 for byte in failure.message.encode())
    base64 = (len(failure.to_status().SerializeToString()) + 2) // 3 * 4
    return message + len("grpc-message") + base64 + len(DETAILS_KEY) + 2 * 32


@given(st.lists(st.tuples(st.text(min_size=1), st.text(max_size=5000)), min_size=1, max_size=500))
def test_a_status_fits_into_metadata_whatever_is_wrong(wrong: list[tuple[str, str]]) -> None:
    failure = Failure.of(InvalidRequest(*(Violation(field, text) for field, text in wrong)))
    assert size_in_metadata(failure) < METADATA_LIMIT - 1024


def test_a_status_with_every_policy_wrong_fits() -> None:
    wrong = [Violation(f"policies[{index}].name", "😀" * 500) for index in range(500)]
    failure = Failure.of(InvalidRequest(*wrong))
    assert len(failure.violations) == MAX_VIOLATIONS
    assert size_in_metadata(failure) < METADATA_LIMIT - 1024


@given(st.text(alphabet=st.characters()), st.integers(3, 40))
def test_shortened_text_is_within_the_limit(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short.encode()) <= limit
    if len(text.encode(errors="replace")) > limit:
        assert short.endswith("…")
