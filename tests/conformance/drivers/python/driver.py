"""Makes the calls of the conformance cases with the Python client. See README.md two folders above."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from archroute import ArchrouteError, Decision, Router, RouteRequest

ROLES = {"ROLE_SYSTEM": "system", "ROLE_DEVELOPER": "developer", "ROLE_USER": "user"} | {
    "ROLE_ASSISTANT": "assistant",
    "ROLE_TOOL": "tool",
}


def credentials(target: dict[str, Any]) -> grpc.ChannelCredentials | None:
    if not target.get("tls"):
        return None
    tls = grpc.ssl_channel_credentials(target["ca"].encode() if "ca" in target else None)
    if "token" not in target:
        return tls
    return grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(target["token"]))


def arguments(request: dict[str, Any]) -> dict[str, Any]:
    """The request in JSON as the client takes it."""
    options = request.get("options", {})
    found: dict[str, Any] = {"messages": [message(each) for each in request["messages"]]}
    found |= {name: request[name] for name in ("policy_set", "session_id") if name in request}
    found |= {name: options[name] for name in ("top_k", "min_probability") if name in options}
    if "decide_by" in options:
        found["decide_by"] = float(options["decide_by"].removesuffix("s"))
    if "inline_policies" in request:
        found["policies"] = request["inline_policies"]["policies"]
    return found


def message(value: dict[str, Any]) -> dict[str, Any]:
    parts = [
        {"type": "text", "text": part["text"]} if "text" in part else {"type": "image_url"}
        for part in value.get("parts", ())
    ]
    return {"role": ROLES[value["role"]], "content": parts}


def response(decision: Decision) -> dict[str, Any]:
    """The decision as the protocol writes it."""
    revisions, tokens = decision.revisions, decision.tokens
    reason = decision.fallback_reason.upper() or "UNSPECIFIED"
    return {
        "policy": decision.policy or "",
        "outcome": f"OUTCOME_{decision.outcome.name}",
        "probability": decision.probability,
        "ranking": [{"policy": each.policy, "probability": each.probability} for each in decision.ranking],
        "models": list(decision.models),
        "revisions": {"policy_set": revisions.policy_set, "provider": revisions.provider},
        "tokens": {
            "prompt_tokens": tokens.prompt_tokens,
            "cached_tokens": tokens.cached_tokens,
            "forward_passes": tokens.forward_passes,
        },
        "session_id": decision.session_id,
        "fallback_reason": f"FALLBACK_REASON_{reason}",
    }


def error(failure: ArchrouteError) -> dict[str, Any]:
    assert failure.code is not None
    return {
        "code": failure.code.name,
        "reason": failure.reason,
        "fields": [violation.field for violation in failure.field_violations],
        "retry_after_ms": None if failure.retry_after is None else failure.retry_after * 1000,
    }


def route(case: dict[str, Any], router: Router) -> dict[str, Any]:
    try:
        return {"response": response(router.route(**arguments(case["request"]), timeout=case["timeout"]))}
    except ArchrouteError as failure:
        return {"error": error(failure)}


def route_stream(case: dict[str, Any], router: Router) -> dict[str, Any]:
    def requests() -> Iterator[tuple[str, RouteRequest]]:
        for each in case["requests"]:
            yield each["request_id"], RouteRequest(**arguments(each["request"]))

    answers: list[dict[str, Any]] = []
    try:
        for request_id, answer in router.route_stream(requests(), timeout=case["timeout"]):
            if isinstance(answer, ArchrouteError):
                answers.append({"request_id": request_id, "error": error(answer)})
            else:
                answers.append({"request_id": request_id, "response": response(answer)})
    except ArchrouteError as failure:
        return {"answers": answers, "error": error(failure)}
    return {"answers": answers}


def check_health(case: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """With gRPC's own stubs, as the client has no method for it."""
    with grpc.insecure_channel(target["address"]) as channel:
        request = health_pb2.HealthCheckRequest(service=case["service"])
        try:
            status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=case["timeout"]).status
        except grpc.RpcError as failure:
            return {"error": {"code": failure.code().name}}
    return {"status": health_pb2.HealthCheckResponse.ServingStatus.Name(status)}


def main() -> None:
    """Read the cases from standard input and print a line of JSON for each."""
    plan = json.load(sys.stdin)
    for case in plan["cases"]:
        target = plan["targets"][case["target"]]
        if case["call"] == "check_health":
            result = check_health(case, target)
        else:
            with Router(target["address"], credentials=credentials(target)) as router:
                result = (route if case["call"] == "route" else route_stream)(case, router)
        sys.stdout.write(json.dumps({"name": case["name"], **result}) + "\n")


if __name__ == "__main__":
    main()
