"""The client of archroute: which policy, and hence which model, does a conversation call for?

import archroute

with archroute.Router("localhost:50051") as router:
    decision = router.route([{"role": "user", "content": "Why does this test fail?"}])
    print(decision.policy, decision.probability, decision.models)
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

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
from archroute.tls import Tls
from archroute.validation import Finding, Severity, Validation
from archroute.version import __version__

if TYPE_CHECKING:
    from archroute.selection.model import Model
    from archroute.selection.model_map import ModelMap
    from archroute.selection.needs import Needs
    from archroute.selection.reasons import SelectionOutcome, SelectionReason
    from archroute.selection.selection import Selection
    from archroute.selection.selector import Selector
    from archroute.selection.stickiness import Stickiness
    from archroute.selection.strategies.strategy import Strategy

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
    "Tls",
    "TokenUsage",
    "UnavailableError",
    "Validation",
    "__version__",
]

# Whoever only routes need not wait for what `select` is made of: it is more than the rest of the package.
_LATE = MappingProxyType(
    {
        "Model": "archroute.selection.model",
        "ModelMap": "archroute.selection.model_map",
        "Needs": "archroute.selection.needs",
        "Selection": "archroute.selection.selection",
        "SelectionOutcome": "archroute.selection.reasons",
        "SelectionReason": "archroute.selection.reasons",
        "Selector": "archroute.selection.selector",
        "Stickiness": "archroute.selection.stickiness",
        "Strategy": "archroute.selection.strategies.strategy",
    }
)

# Not for type checkers: they would take every name for one that exists.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Imports a name of `select` when it is first used."""
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_LATE[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The names of the API, imported or not."""
        return sorted({*globals(), *__all__})
