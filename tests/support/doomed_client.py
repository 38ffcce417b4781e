"""A client that asks without end, on unary calls and on a stream, until it is killed. A script.

It prints a line once each of its calls has been answered for the first time: from then on some are always
under way.
"""

import itertools
import sys
import threading
from collections.abc import Iterator

import grpc

from archroute.v1 import router_pb2
from archroute.v1.router_pb2_grpc import RouterServiceStub

CALLERS = 4
REQUESTS_IN_A_STREAM = 2


def ask(text: str) -> router_pb2.RouteRequest:
    part = router_pb2.Part(text=text)
    return router_pb2.RouteRequest(messages=[router_pb2.Message(role=router_pb2.ROLE_USER, parts=[part])])


def ask_without_end(stub: RouterServiceStub, caller: int, answered: threading.Semaphore) -> None:
    for number in itertools.count():
        try:
            stub.Route(ask(f"Question {caller}/{number}"), wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        if number == 0:
            answered.release()


def stream_without_end(stub: RouterServiceStub, answered: threading.Semaphore) -> None:
    slots = threading.Semaphore(REQUESTS_IN_A_STREAM)

    def requests() -> Iterator[router_pb2.RouteStreamRequest]:
        for number in itertools.count():
            slots.acquire()
            yield router_pb2.RouteStreamRequest(request_id=str(number), request=ask(f"Line {number}"))

    for number, _ in enumerate(stub.RouteStream(requests(), wait_for_ready=True)):
        slots.release()
        if number == 0:
            answered.release()


def main(address: str) -> None:
    answered = threading.Semaphore(0)
    channel = grpc.insecure_channel(address)
    stub = RouterServiceStub(channel)
    callers = [
        threading.Thread(target=ask_without_end, args=(stub, caller, answered)) for caller in range(CALLERS)
    ]
    callers.append(threading.Thread(target=stream_without_end, args=(stub, answered)))
    for thread in callers:
        thread.start()
    for _ in callers:
        answered.acquire()
    print("answered", flush=True)  # noqa: T201 - to the test that waits for it
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
