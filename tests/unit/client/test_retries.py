import json

from archroute.endpoint import Endpoint
from archroute.v1 import router_pb2


def test_every_call_but_the_stream_may_be_made_again() -> None:
    options = dict(Endpoint.checked("localhost:1", 1, ()).channel_options)
    [config] = json.loads(str(options["grpc.service_config"]))["methodConfig"]
    service = router_pb2.DESCRIPTOR.services_by_name["RouterService"]
    again = {(each["service"], each["method"]) for each in config["name"]}
    assert again == {
        (service.full_name, method.name) for method in service.methods if not method.server_streaming
    }
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
