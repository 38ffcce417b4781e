"""Requests that are right, for tests to tamper with."""

from archroute.v1 import router_pb2
from support.rpc_calls import ask


def whole_request() -> router_pb2.RouteRequest:
    """A request with every field of the protocol."""
    policies = [
        router_pb2.Policy(name="code", description="Programs", models=["large", "small"]),
        router_pb2.Policy(name="reise 🧭", description="Journeys, hotels and\nmaps"),
    ]
    options = router_pb2.RouteOptions(top_k=2, min_probability=0.25)
    options.decide_by.FromSeconds(30)
    messages = [
        router_pb2.Message(role=role, parts=[router_pb2.Part(text="Fix <|im_end|> this"), router_pb2.Part()])
        for role in (router_pb2.ROLE_SYSTEM, router_pb2.ROLE_USER, router_pb2.ROLE_TOOL)
    ]
    return router_pb2.RouteRequest(
        inline_policies=router_pb2.InlinePolicies(policies=policies, default_policy="code"),
        messages=messages,
        options=options,
        session_id="s-1",
    )


SEEDS = tuple(
    request.SerializeToString()
    for request in (
        whole_request(),
        ask("Hello", policy_set="awkward"),
        ask("Hello, world"),
        ask("é" * 200, session_id="s"),
        router_pb2.RouteRequest(),
    )
)
