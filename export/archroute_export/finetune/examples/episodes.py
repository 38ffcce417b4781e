"""The examples that train and validate: episodes, each of one policy set and several conversations.

Consecutive examples with the same policies let the training read those once for all of them.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from archroute_export.finetune.examples.catalogue import Catalogue, domain_of, source_of
from archroute_export.finetune.examples.conversations import with_earlier_requests, with_system_message
from archroute_export.finetune.examples.policy_sets import ShownSet, draw_policies, show
from archroute_export.finetune.examples.settings import Settings
from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest
from archroute_server.router.example import Example
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import OTHER

# How often to draw again when what was drawn does not go together.
_ATTEMPTS = 12


def build_episodes(catalogue: Catalogue, settings: Settings, sets: int, seed: str) -> Iterator[list[Example]]:
    """Yield the episodes; the same arguments give the same ones, and none if there are no requests."""
    if not catalogue.requests:
        return
    shares = [settings.sources.get(source, settings.other_sources) for source in catalogue.sources]
    for number in range(sets):
        rng = random.Random(f"{seed}/{number}")
        for _ in range(_ATTEMPTS):
            (source,) = rng.choices(catalogue.sources, shares)
            policies = draw_policies(rng, catalogue, source, settings)
            if len(policies) < 2:
                continue
            episode = _Episode(rng, catalogue, settings, show(rng, policies, catalogue)).examples()
            if episode:
                yield episode
                break


@dataclass
class _Episode:
    """One policy set and the requests that are asked of it."""

    rng: random.Random
    catalogue: Catalogue
    settings: Settings
    shown: ShownSet

    def examples(self) -> list[Example]:
        """Return the examples; fewer than wanted if the set has not that many requests.

        There are more than requests are drawn where the other turns of a dialogue are asked as well.
        """
        asked: set[int] = set()
        found = []
        targets = cycle(self.rng.sample(self.shown.labelled, len(self.shown.labelled)))
        for _ in range(self.settings.requests_per_set):
            request = None
            if self.rng.random() < self.settings.other:
                request = self._request_for_other(asked)
            for _ in range(len(self.shown.labelled)):
                if request is not None:
                    break
                request = self._request_for(next(targets), asked)
            if request is None:
                break
            asked.add(id(request))
            found.append(self._example(request))
            for turn in self._other_turns(request, asked):
                asked.add(id(turn))
                found.append(self._example(turn))
            if len(found) >= self.settings.examples_per_set:
                break
        return found

    def _other_turns(self, request: LabelledRequest, asked: set[int]) -> list[LabelledRequest]:
        """Return the other turns of the dialogue that a request is from, if they shall be asked too."""
        share = self.settings.whole_dialogues
        if not request.group or not share or self.rng.random() >= share:
            return []
        turns = []
        for turn in self.catalogue.dialogues[request.group]:
            right = self.catalogue.right_answer(turn, self.shown.labelled)
            # Where a set has a part of a dialogue's policies, nothing fits most turns: as many are asked as
            # of other requests that nothing fits.
            wanted = right is not None and (right != OTHER or self.rng.random() < self.settings.other)
            if wanted and id(turn) not in asked and not self._describes(turn):
                turns.append(turn)
        return turns

    def _request_for(self, target: LabelledPolicy, asked: set[int]) -> LabelledRequest | None:
        """Draw a request for which the target is right in this set."""
        owners = self.catalogue.by_domain.get(target.id, ()) if target.coarse else (target,)
        return self._draw([policy.id for policy in owners], target.id, asked)

    def _request_for_other(self, asked: set[int]) -> LabelledRequest | None:
        """Draw a request that no policy of this set fits."""
        sources = {source_of(policy.id) for policy in self.shown.labelled}
        if len(sources) == 1 and self.rng.random() < self.settings.other_out_of_scope:
            left = [
                request
                for request in self.catalogue.out_of_scope.get(next(iter(sources)), ())
                if id(request) not in asked
                and self.catalogue.right_answer(request, self.shown.labelled) == OTHER
            ]
            if left:
                return self.rng.choice(left)
        domains = {policy.domain for policy in self.shown.labelled}
        near = self.rng.random() < self.settings.other_near
        owners = [
            policy.id
            for domain, policies in self.catalogue.by_domain.items()
            if (domain in domains if near else source_of(domain) in sources - domains)
            for policy in policies
        ]
        return self._draw(owners, OTHER, asked)

    def _draw(self, owners: list[str], answer: str, asked: set[int]) -> LabelledRequest | None:
        """Draw a request of one of these policies that has the given answer in this set."""
        owners = [owner for owner in owners if self.catalogue.requests.get(owner)]
        for _ in range(_ATTEMPTS if owners else 0):
            request = self.rng.choice(self.catalogue.requests[self.rng.choice(owners)])
            right = self.catalogue.right_answer(request, self.shown.labelled)
            if right == answer and id(request) not in asked and not self._describes(request):
                return request
        return None

    def _describes(self, request: LabelledRequest) -> bool:
        """Say whether a policy of the set is described by this very request."""
        text = f'"{request.messages[-1].text}"'
        return any(text in policy.description for policy in self.shown.shown)

    def _example(self, request: LabelledRequest) -> Example:
        messages = request.messages
        if request.user_turns == 1 and self.rng.random() < self.settings.topic_switch:
            messages = with_earlier_requests(self.rng, self._earlier_requests(request), messages)
        if self.rng.random() < self.settings.system_message:
            messages = with_system_message(self.rng, messages)
        return labelled_example(self.catalogue, request, self.shown, messages)

    def _earlier_requests(self, request: LabelledRequest) -> list[tuple[Message, ...]]:
        """Draw requests of other policies, most of them of this set, to come before a switch of topic."""
        weights = self.settings.earlier_requests
        (count,) = self.rng.choices(range(1, len(weights) + 1), weights)
        own = [
            policy.id
            for policy in self.shown.labelled
            if policy.id != request.policy and self.catalogue.requests.get(policy.id)
        ]
        every = [policy for policy in self.catalogue.requests if policy != request.policy]
        found: list[tuple[Message, ...]] = []
        for _ in range(_ATTEMPTS * count):
            if len(found) == count or not every:
                break
            owners = own if own and self.rng.random() < 0.6 else every
            earlier = self.rng.choice(self.catalogue.requests[self.rng.choice(owners)])
            if earlier.user_turns == 1:
                found.append(earlier.messages)
        return found


def labelled_example(
    catalogue: Catalogue, request: LabelledRequest, shown: ShownSet, messages: tuple[Message, ...]
) -> Example:
    """Return the example of asking a request, as these messages, of a set. Its answer must be clear-cut."""
    right = catalogue.right_answer(request, shown.labelled)
    if right is None:
        raise ValueError("a request whose right answer is not clear-cut was asked of a set")
    user_turns = sum(message.role is Role.USER for message in messages)
    tags = {"form": shown.form.value, "turns": str(user_turns)}
    if request.policy is None:
        tags |= {"source": source_of(shown.labelled[0].id), "case": "out-of-scope"}
    else:
        near = any(policy.domain == domain_of(request.policy) for policy in shown.labelled)
        removed = "removed-near" if near else "removed-far"
        tags |= {
            "source": source_of(request.policy),
            "domain": domain_of(request.policy).partition("/")[2],
            "label": request.policy.rpartition("/")[2],
            "case": removed if right == OTHER else "in-scope",
        }
    return Example(
        policies=shown.shown,
        messages=messages,
        expected=OTHER if right == OTHER else shown.name(right),
        language=request.language,
        tags=tags,
    )
