"""All that examples are made of in one split, and which policies may meet in one policy set.

What is right for a request follows from the policies that the model sees:

    the request's own policy is among them      it is right, whatever else is there
    only the coarse policy of its domain is     that one is right
    neither is                                  `other`

unless one of them is acceptable as well, or overlaps the request's own: then nothing is right or wrong, and
the request is not asked of that set.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest
from archroute_server.router.policy import OTHER


@dataclass(frozen=True)
class Catalogue:
    """The policies and requests of one split.

    `policies` are by id, coarse ones among them. `conflicts` holds for each id those of the policies that
    must not be in a set with it. `requests` are by the id of their policy; `out_of_scope` by the name of the
    source of whose policies none fits.
    """

    policies: Mapping[str, LabelledPolicy]
    conflicts: Mapping[str, frozenset[str]]
    requests: Mapping[str, tuple[LabelledRequest, ...]]
    out_of_scope: Mapping[str, tuple[LabelledRequest, ...]]

    @cached_property
    def by_domain(self) -> Mapping[str, tuple[LabelledPolicy, ...]]:
        """The policies of each domain, without the coarse one."""
        found: dict[str, list[LabelledPolicy]] = {}
        for policy in self.policies.values():
            if not policy.coarse:
                found.setdefault(policy.domain, []).append(policy)
        return {domain: tuple(policies) for domain, policies in found.items()}

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, in order."""
        return tuple(dict.fromkeys(source_of(policy) for policy in self.policies))

    @cached_property
    def dialogues(self) -> Mapping[str, tuple[LabelledRequest, ...]]:
        """The requests that come from one dialogue, by their group."""
        found: dict[str, list[LabelledRequest]] = {}
        for request in chain.from_iterable(self.requests.values()):
            if request.group:
                found.setdefault(request.group, []).append(request)
        return {group: tuple(requests) for group, requests in found.items()}

    @cached_property
    def _domains_of_dialogues(self) -> Mapping[str, Sequence[Sequence[str]]]:
        found: dict[str, list[Sequence[str]]] = {}
        for requests in self.dialogues.values():
            domains = tuple(dict.fromkeys(domain_of(each.policy) for each in requests if each.policy))
            found.setdefault(source_of(domains[0]), []).append(domains)
        return found

    def domains_of_dialogues(self, source: str) -> Sequence[Sequence[str]]:
        """Return for each dialogue of a source the ids of the domains that it goes over."""
        return self._domains_of_dialogues.get(source, ())

    def domains_of(self, source: str) -> list[str]:
        """Return the ids of a source's domains."""
        return [domain for domain in self.by_domain if source_of(domain) == source]

    def compatible(self, policy: LabelledPolicy, others: Iterable[LabelledPolicy]) -> bool:
        """Say whether a policy may join a set."""
        conflicts = self.conflicts.get(policy.id, frozenset())
        name = policy.name.casefold()
        return all(
            other.id not in conflicts and other.id != policy.id and other.name.casefold() != name
            for other in others
        )

    def right_answer(self, request: LabelledRequest, shown: Iterable[LabelledPolicy]) -> str | None:
        """Return the id of the right one of the policies shown, `other`, or None if it is not clear-cut.

        A request out of scope is clear-cut only among policies of its own source, which the caller sees to.
        """
        ids = {policy.id for policy in shown}
        own = {request.policy, domain_of(request.policy)} if request.policy else set()
        if (ids | {domain_of(id_) for id_ in ids}) & request.also - own or ids & self._rivals(request) - own:
            return None
        if request.policy in ids:
            return request.policy
        return next(iter(ids & own), OTHER)

    def _rivals(self, request: LabelledRequest) -> frozenset[str]:
        """Return the policies that overlap the request's own, and the coarse ones of acceptable policies."""
        conflicts = self.conflicts.get(request.policy, frozenset()) if request.policy else frozenset()
        return conflicts | {domain_of(policy) for policy in request.also}


def source_of(policy_id: str) -> str:
    """Return the name of the source of a policy or a domain."""
    return policy_id.partition("/")[0]


def domain_of(policy_id: str) -> str:
    """Return the id of a policy's domain."""
    return "/".join(policy_id.split("/")[:2])
