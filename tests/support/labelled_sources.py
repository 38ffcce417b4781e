"""Small sources of labelled requests, made up."""

from collections.abc import Sequence
from typing import Any

from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest, Source
from archroute_server.router.message import Message, Role


def ask(text: str, policy: str | None, **fields: Any) -> LabelledRequest:
    """Return a request of one message."""
    return LabelledRequest((Message(Role.USER, text),), policy, **fields)


def make_source(
    name: str = "own",
    domains: int = 4,
    policies: int = 3,
    requests: int = 6,
    out_of_scope: int = 4,
    overlaps: Sequence[tuple[str, str]] = (),
) -> Source:
    """Return a source whose policies are named by their domain and number: `d0_p2` in the domain `d0`."""
    domain_ids = [f"{name}/d{index}" for index in range(domains)]
    found = [
        LabelledPolicy(
            f"{domain}/{domain[-2:]}_p{index}",
            domain,
            f"{domain[-2:]}_p{index}",
            (f"About {domain} and {index}", f"short {index}", f"More about {domain}, number {index}"),
        )
        for domain in domain_ids
        for index in range(policies)
    ]
    return Source(
        name,
        tuple(LabelledPolicy(id_, id_, id_[-2:], (f"All of {id_}", f"whole {id_}")) for id_ in domain_ids),
        tuple(found),
        frozenset(overlaps),
        (
            *(ask(f"{policy.id} {n}", policy.id) for policy in found for n in range(requests)),
            *(ask(f"{name} unfit {n}", None) for n in range(out_of_scope)),
        ),
    )
