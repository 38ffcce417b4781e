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
    CircuitOpenError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidRequestError,
    ModelMapError,
    NoModelFitsError,
    PolicySetChangedError,
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
from archroute.selection.model import Model
from archroute.selection.model_map import ModelMap
from archroute.selection.needs import Needs
from archroute.selection.reasons import SelectionOutcome, SelectionReason
from archroute.selection.selection import Selection
from archroute.selection.selector import Selector
from archroute.selection.stickiness import Stickiness
from archroute.selection.strategies.strategy import Strategy
from archroute.validation import Finding, Severity, Validation
from archroute.version import __version__

__all__ = [
    "AccessDeniedError",
    "ArchrouteError",
    "AsyncRouter",
    "CircuitOpenError",
    "DeadlineExceededError",
    "Decision",
    "FailedPreconditionError",
    "FieldViolation",
    "Finding",
    "InvalidRequestError",
    "Message",
    "Model",
    "ModelMap",
    "ModelMapError",
    "Needs",
    "NoModelFitsError",
    "Outcome",
    "Policy",
    "PolicySet",
    "PolicySetChangedError",
    "PolicySetNotFoundError",
    "PolicySetSummary",
    "ProtocolError",
    "RankedPolicy",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "Revisions",
    "RouteRequest",
    "Router",
    "Selection",
    "SelectionOutcome",
    "SelectionReason",
    "Selector",
    "ServerError",
    "Severity",
    "Stickiness",
    "Strategy",
    "Timings",
    "TokenUsage",
    "UnavailableError",
    "Validation",
    "__version__",
]
