"""One call of `select`, between the question and the answer."""

from dataclasses import dataclass, field

from archroute.selection.needs import Needs
from archroute.v1 import router_pb2

__all__ = ["Attempt"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a client needs so as to ask the router, and the selector so as to make a selection of the
    answer."""

    needs: Needs = field(default_factory=Needs)
    key: str = ""
    strict: bool = False
    timeout: float = 0.0
    """Seconds that asking may take."""

    by_user: bool = True
    """Whether the conversation ends with the user's words."""

    question: bytes = b""
    """What the cache knows the request by."""

    request: router_pb2.RouteRequest = field(default_factory=router_pb2.RouteRequest)
