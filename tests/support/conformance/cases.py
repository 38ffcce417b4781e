"""The conformance cases: what is asked, what a driver is told of it, and what must come back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.json_format import MessageToDict, ParseDict

from archroute.retries import SERVICE_CONFIG
from archroute.v1 import router_pb2
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_sets import PolicySets
from support.scripted_engine import Line
from support.scripted_server import TOKEN, ScriptedServer

# Seconds; far away, for what is not about time.
PATIENCE = 60.0

# Where nobody listens: no program may take this port without being the system's own.
NOBODY = "localhost:1"


@dataclass(frozen=True)
class Case:
    """One call. `plan` is what a driver is told of it."""

    name: str
    plan: Mapping[str, Any]
    expect: Mapping[str, Any]
    in_any_order: bool = False
    """Whether the answers of a stream may come in another order than they are written."""
    attempts: Mapping[str, Any] | None = None
    """How often a text came to the server (`count`), at least so many seconds `apart`."""


@dataclass(frozen=True)
class Suite:
    """All cases, and the server that they are meant for."""

    policy_sets: PolicySets
    script: Sequence[Line]
    cases: Sequence[Case]

    def plan(self, server: ScriptedServer) -> dict[str, Any]:
        """What a driver reads from its standard input, as README.md beside the cases describes it."""
        private = {"address": server.tls_address, "tls": True}
        trusted = {**private, "ca": server.ca}
        targets = {
            "plain": {"address": server.address},
            "private": {**trusted, "token": TOKEN},
            "private_without_token": trusted,
            "private_with_wrong_token": {**trusted, "token": TOKEN[:-1]},
            "private_untrusted": private,
            "nobody": {"address": NOBODY},
        }
        cases = [dict(case.plan) for case in self.cases]
        return {"service_config": SERVICE_CONFIG, "targets": targets, "cases": cases}


def load(path: Path) -> Suite:
    """Read the cases; what is not a request or a response of the protocol is an error here."""
    document = _repeated(yaml.safe_load(path.read_text(encoding="utf-8")))
    policy_sets = [
        PolicySet(
            each["name"],
            tuple(
                Policy(policy["name"], policy["description"], tuple(policy.get("models", ())))
                for policy in each["policies"]
            ),
            default_policy=each.get("default_policy"),
        )
        for each in document["policy_sets"]
    ]
    return Suite(
        policy_sets=PolicySets(policy_sets, default_name=document["default"]),
        script=[Line(**line) for line in document["script"]],
        cases=[_case(**case) for case in document["cases"]],
    )


def _case(
    name: str,
    call: str,
    expect: Mapping[str, Any],
    target: str = "plain",
    timeout: float = PATIENCE,
    in_any_order: bool = False,
    attempts: Mapping[str, Any] | None = None,
    **asked: Any,
) -> Case:
    for request in asked.get("requests", [asked] if "request" in asked else []):
        ParseDict(request["request"], router_pb2.RouteRequest())
    plan = {"name": name, "call": call, "target": target, "timeout": timeout, **asked}
    return Case(name, plan, expect, in_any_order, attempts)


def _repeated(value: Any) -> Any:
    """Replace `{repeat: TEXT, times: N}` by the text that it stands for."""
    if isinstance(value, list):
        return [_repeated(each) for each in value]
    if isinstance(value, dict):
        if value.keys() == {"repeat", "times"}:
            return value["repeat"] * value["times"]
        return {key: _repeated(each) for key, each in value.items()}
    return value


def whole(result: Mapping[str, Any]) -> dict[str, Any]:
    """A driver's result with every field of a response, since JSON leaves out what has its default."""
    found = dict(result)
    if "response" in found:
        response = ParseDict(found["response"], router_pb2.RouteResponse())
        found["response"] = MessageToDict(
            response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    if "answers" in found:
        found["answers"] = [whole(answer) for answer in found["answers"]]
    return found
