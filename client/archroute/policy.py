"""Policies: what a user can want, in words, and the models that serve it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archroute.fields import checked_text, invalid, kind_of
from archroute.v1 import router_pb2

__all__ = ["Policy", "PolicySet", "PolicySetSummary", "to_policies", "to_policy_set"]

_KEYS = ("name", "description", "models")


@dataclass(frozen=True, slots=True)
class Policy:
    """One thing a user can want. A dict with the same keys does as well."""

    name: str
    """Unique among its set, not empty, not `other`."""

    description: str
    """What the policy covers: specific, noun-centred, without overlap with the others."""

    models: tuple[str, ...] = ()
    """Downstream models, the preferred one first. Opaque to the router."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """A policy set of a server, whole."""

    name: str
    revision: str
    """SHA-256 of the policies, as `sha256:<hex>`."""
    policies: tuple[Policy, ...]
    default_policy: str | None = None
    """The name of the policy that a `FALLBACK` names; None if the set declares none."""
    stored: bool = False
    """Whether the set is in the server's store, so that `Router.put_policy_set` replaces it."""

    @classmethod
    def from_message(cls, message: router_pb2.PolicySet) -> "PolicySet":
        """Reads a policy set as a server sends it."""
        policies = (Policy(each.name, each.description, tuple(each.models)) for each in message.policies)
        default = message.default_policy or None
        return cls(message.name, message.revision, tuple(policies), default, message.stored)


@dataclass(frozen=True, slots=True)
class PolicySetSummary:
    """A policy set of a server, as a list shows it."""

    name: str
    revision: str
    """SHA-256 of the policies, as `sha256:<hex>`."""
    policy_count: int
    is_default: bool
    """Whether a request that names no policies is decided by this set."""
    stored: bool = False
    """As in `PolicySet`."""

    @classmethod
    def from_message(cls, message: router_pb2.PolicySetSummary) -> "PolicySetSummary":
        """Reads a summary as a server sends it."""
        return cls(message.name, message.revision, message.policy_count, message.is_default, message.stored)


def to_policies(values: object, field: str = "policies") -> list[router_pb2.Policy]:
    """Converts policies, each a `Policy` or a mapping with the keys of one.

    Checks only what the wire cannot carry; the server judges the rest.

    Raises:
        InvalidRequestError: Naming the policy, for example `policies[1].models`.
    """
    if isinstance(values, str | bytes | Mapping | Policy) or not isinstance(values, Iterable):
        raise invalid(field, f"must be a list of policies, not {kind_of(values)}")
    return [_to_policy(value, f"{field}[{index}]") for index, value in enumerate(values)]


def to_policy_set(name: object, policies: object, default_policy: object) -> router_pb2.PolicySet:
    """Converts a policy set, without a revision. `default_policy` may be None.

    Raises:
        InvalidRequestError: As for `to_policies`.
    """
    return router_pb2.PolicySet(
        name=checked_text(name, "name"),
        policies=to_policies(policies),
        default_policy=None if default_policy is None else checked_text(default_policy, "default_policy"),
    )


def _to_policy(value: object, field: str) -> router_pb2.Policy:
    if isinstance(value, Policy):
        value = {key: getattr(value, key) for key in _KEYS}
    if not isinstance(value, Mapping):
        raise invalid(field, f"must be a policy with a name and a description, not {kind_of(value)}")
    for key in value:
        if key not in _KEYS:
            raise invalid(field, f"unknown key {key!r}; a policy has {', '.join(_KEYS)}")
    return router_pb2.Policy(
        name=checked_text(value.get("name"), f"{field}.name"),
        description=checked_text(value.get("description"), f"{field}.description"),
        models=_to_models(value.get("models"), f"{field}.models"),
    )


def _to_models(values: object, field: str) -> list[str]:
    if values is None:
        return []
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise invalid(field, f"must be a list of model names, not {kind_of(values)}")
    return [checked_text(value, f"{field}[{index}]") for index, value in enumerate(values)]
