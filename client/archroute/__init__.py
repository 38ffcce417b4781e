"""The client of archroute: which policy, and hence which model, does a conversation call for?

import archroute

with archroute.Router("localhost:50051") as router:
    decision = router.route([{"role": "user", "content": "Why does this test fail?"}])
    print(decision.policy, decision.probability, decision.models)
"""

from archroute.async_router import AsyncRouter
from archroute.decision import Decision, Outcome, RankedPolicy, Revisions, Timings, TokenUsage
from archroute.errors import (
    AccessDeniedError,
    ArchrouteError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidRequestError,
    PolicySetNotFoundError,
    ProtocolError,
    RequestCancelledError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
)
from archroute.message import Message
from archroute.policy import Policy, PolicySet, PolicySetSummary
from archroute.request import RouteRequest
from archroute.router import Router
from archroute.version import __version__

__all__ = [
    "AccessDeniedError",
    "ArchrouteError",
    "AsyncRouter",
    "DeadlineExceededError",
    "Decision",
    "FailedPreconditionError",
    "FieldViolation",
    "InvalidRequestError",
    "Message",
    "Outcome",
    "Policy",
    "PolicySet",
    "PolicySetNotFoundError",
    "PolicySetSummary",
    "ProtocolError",
    "RankedPolicy",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "Revisions",
    "RouteRequest",
    "Router",
    "ServerError",
    "Timings",
    "TokenUsage",
    "UnavailableError",
    "__version__",
]
