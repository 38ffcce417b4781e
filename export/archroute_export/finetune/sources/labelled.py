"""The common form of all labelled requests.

Source "gateway"
├── domains      gateway/legal                    a coarse policy: whatever belongs to the domain
├── policies     gateway/legal/contract_review    with several wordings of its description
└── requests     a conversation, and the id of the policy that its latest intent calls for
"""

from collections import Counter
from dataclasses import dataclass

from archroute_server.router.message import Message, Role


@dataclass(frozen=True)
class LabelledPolicy:
    """A policy with the wordings that its description may have.

    `id` is `<source>/<domain>/<name>`, or `<source>/<domain>` for the coarse policy of a whole domain, whose
    `domain` is its own id.
    """

    id: str
    domain: str
    name: str
    descriptions: tuple[str, ...]

    @property
    def coarse(self) -> bool:
        """Say whether the policy stands for its whole domain."""
        return self.id == self.domain


@dataclass(frozen=True)
class LabelledRequest:
    """A conversation that ends with the user's message, and the id of the policy that it calls for.

    `policy` is None if no policy of the source fits. `also` holds the ids of policies, or of whole domains,
    that would be acceptable too; `earlier` those of the policies that the turns before called for, where that
    is known. Requests of the same `group`, if not empty, come from one dialogue.
    """

    messages: tuple[Message, ...]
    policy: str | None
    also: frozenset[str] = frozenset()
    earlier: frozenset[str] = frozenset()
    language: str = "en"
    group: str = ""

    @property
    def user_turns(self) -> int:
        """How many messages are the user's."""
        return sum(message.role is Role.USER for message in self.messages)


@dataclass(frozen=True)
class Source:
    """Policies and requests that were labelled together.

    `domains` may lack some: then their policies have no coarse one. `overlaps` are pairs of ids whose
    policies could both be right for the same request.
    """

    name: str
    domains: tuple[LabelledPolicy, ...]
    policies: tuple[LabelledPolicy, ...]
    overlaps: frozenset[tuple[str, str]]
    requests: tuple[LabelledRequest, ...]

    def __post_init__(self) -> None:
        counts = Counter(policy.id for policy in (*self.domains, *self.policies))
        repeated = [name for name, count in counts.items() if count > 1]
        if repeated:
            raise ValueError(f"policies named twice: {', '.join(repeated)}")
