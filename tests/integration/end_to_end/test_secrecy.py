"""The log of a real server holds no conversation, unless it is told to."""

from pathlib import Path

import grpc
import pytest

from archroute import ArchrouteError, Router
from archroute.v1 import router_pb2
from support.server_process import ServerProcess, serving

SECRET = "the launch code is 0000"


def ask_everything(server: ServerProcess) -> None:
    """Send the secret in requests that end in every way that a caller can bring about."""
    with Router(server.address, timeout=60) as router:
        router.route(SECRET)
        router.route(SECRET * 50_000)
        for wrong in ({"policy_set": "absent"}, {"policies": []}, {"messages": [_system(SECRET)]}):
            with pytest.raises(ArchrouteError) as refused:
                router.route(**({"messages": SECRET} | wrong))
            assert SECRET not in str(refused.value)
        with pytest.raises(ArchrouteError):
            router.route(SECRET * 300_000)
    request = router_pb2.RouteRequest(
        messages=[router_pb2.Message(role=router_pb2.ROLE_USER, parts=[router_pb2.Part(text=SECRET + "?")])]
    )
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/archroute.v1.RouterService/Route")(
            request.SerializeToString().replace(b"?", b"\xff"), timeout=60
        )


def _system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


@pytest.mark.parametrize("told", [False, True])
def test_the_log_has_every_request_and_no_text(bundle: Path, policies: Path, *, told: bool) -> None:
    arguments = ("--model", bundle, "--policies", policies, "--listen", "127.0.0.1:0", "--log-level", "debug")
    with serving(*arguments, *(["--log-message-text"] if told else [])) as server:
        server.wait_for("ready")
        ask_everything(server)
        server.wait_for("request", count=7)
        assert server.stop() == 0
    codes = [entry["code"] for entry in server.events("request")]
    assert codes == [
        *("OK", "OK"),
        *("NOT_FOUND", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"),
    ]
    assert (SECRET in server.log) is told
