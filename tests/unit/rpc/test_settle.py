import grpc
import pytest

from archroute_server.rpc.settle import cancellation_code

CANCELLED, EXPIRED = grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("elapsed", "remaining", "code"),
    [
        (1.0, None, CANCELLED),
        (1.0, 0.0, EXPIRED),
        # The caller's own clock was first, by the time that its call took to arrive.
        (0.2, 0.01, EXPIRED),
        (0.2, 0.3, CANCELLED),
        (0.5, 5.0, CANCELLED),
        # Its timeout was rounded up on the way: 60.001 s are sent as 60.1 s.
        (60.001, 0.099, EXPIRED),
        (59.0, 1.1, CANCELLED),
        (99.9, 0.9, EXPIRED),
    ],
)
def test_a_deadline_is_told_from_a_caller_that_hangs_up(
    elapsed: float, remaining: float | None, code: grpc.StatusCode
) -> None:
    assert cancellation_code(elapsed, remaining) is code
