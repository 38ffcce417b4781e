"""A small case of the benchmark, and results as a run of it leaves them."""

from typing import Any

from peers.cases import Case, Message, Request

POLICIES = {"code": "Programs", "travel": "Journeys"}


def make_case(name: str = "10 policies, 4 turns", requests: int = 6) -> Case:
    return Case(
        name=name,
        policies=POLICIES,
        answers={policy: f'{{"route": "{policy}"}}' for policy in (*POLICIES, "other")},
        prefix_tokens=20,
        tree_tokens=5,
        branches=2,
        requests=tuple(
            Request((Message("user", f"question {number}"),), f"policies: question {number}", 30 + number)
            for number in range(requests)
        ),
    )


def measured(seconds: float, policies: list[str], **more: Any) -> dict[str, Any]:
    """What one case of a peer leaves, each decision a little slower than the one before."""
    count = len(policies)
    return {
        "seconds": [seconds * (1 + number / 1000) for number in range(count)],
        "elsewhere": [None] * count,
        "policies": policies,
        "prompt_tokens": [30] * count,
        **more,
    }
