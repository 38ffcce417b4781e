"""Drawing the policies that a model chooses among."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from archroute_export.finetune.examples.catalogue import Catalogue
from archroute_export.finetune.examples.naming import name_policies
from archroute_export.finetune.examples.settings import Settings
from archroute_export.finetune.examples.wording import describe_policies
from archroute_export.finetune.sources.labelled import LabelledPolicy
from archroute_server.router.policy import Policy

# In characters. Longer requests make poor descriptions.
_LONGEST_SAMPLE = 60


class Form(StrEnum):
    """How fine the policies of a set are."""

    DOMAIN = "domain"
    DOMAIN_ACTION = "domain-action"
    MIXED = "mixed"


@dataclass(frozen=True)
class ShownSet:
    """The policies of a set, in order, and how they are shown to the model."""

    labelled: tuple[LabelledPolicy, ...]
    shown: tuple[Policy, ...]

    def name(self, policy_id: str) -> str:
        """Return the name under which a policy is shown."""
        for labelled, shown in zip(self.labelled, self.shown, strict=True):
            if labelled.id == policy_id:
                return shown.name
        raise KeyError(policy_id)

    def rewordings(self) -> dict[str, tuple[str, ...]]:
        """Return the wordings that were not chosen, by the name under which a policy is shown."""
        return {
            shown.name: tuple(text for text in labelled.descriptions if text != shown.description)
            for labelled, shown in zip(self.labelled, self.shown, strict=True)
        }

    @property
    def form(self) -> Form:
        """How fine the policies are."""
        coarse = sum(policy.coarse for policy in self.labelled)
        if not coarse:
            return Form.DOMAIN_ACTION
        return Form.DOMAIN if coarse == len(self.labelled) else Form.MIXED


def show(rng: random.Random, policies: Sequence[LabelledPolicy], catalogue: Catalogue) -> ShownSet:
    """Put the policies in some order, and name and describe them."""
    order = rng.sample(policies, len(policies))
    names = name_policies(rng, order)
    descriptions = describe_policies(rng, order, lambda policy: _samples(rng, policy, catalogue))
    return ShownSet(tuple(order), tuple(map(Policy, names, descriptions)))


def _samples(rng: random.Random, policy: LabelledPolicy, catalogue: Catalogue) -> list[str]:
    """Draw one or two short requests of a policy, to describe it by."""
    owners = catalogue.by_domain.get(policy.id, ()) if policy.coarse else (policy,)
    short = [
        text
        for owner in owners
        for request in catalogue.requests.get(owner.id, ())
        if len(request.messages) == 1
        and len(text := request.messages[0].text) <= _LONGEST_SAMPLE
        and text.isprintable()
    ]
    return rng.sample(short, min(len(short), rng.choice((1, 2))))


def draw_size(rng: random.Random, settings: Settings) -> int:
    """Return the wanted number of policies, by the ranges of the settings."""
    ((_, low, high),) = rng.choices(settings.sizes, [share for share, _, _ in settings.sizes])
    return round(rng.triangular(low, high, low + (high - low) / 4))


def draw_policies(
    rng: random.Random, catalogue: Catalogue, source: str, settings: Settings
) -> list[LabelledPolicy]:
    """Draw a set around one source: of a few domains many siblings, the rest from anywhere.

    There may be fewer than wanted, if no more of them go together.
    """
    size = draw_size(rng, settings)
    form = draw_form(rng, settings)
    sources = [source]
    if rng.random() < settings.mixed_sources:
        sources = list(catalogue.sources)
    home = _home_domains(rng, catalogue, source, settings)
    siblings = [policy for domain in home for policy in catalogue.by_domain[domain]]
    strangers = [
        policy
        for name in sources
        for domain in catalogue.domains_of(name)
        if domain not in home
        for policy in catalogue.by_domain[domain]
    ]
    rng.shuffle(siblings)
    rng.shuffle(strangers)
    share = rng.uniform(0.25, 0.9)
    drawn: list[LabelledPolicy] = []
    while len(drawn) < size and (siblings or strangers):
        near = bool(siblings) and (not strangers or rng.random() < share)
        policy = (siblings if near else strangers).pop()
        policy = _as_form(rng, policy, form, catalogue, settings)
        if catalogue.compatible(policy, drawn):
            drawn.append(policy)
    return drawn


def _home_domains(rng: random.Random, catalogue: Catalogue, source: str, settings: Settings) -> Sequence[str]:
    """Draw the domains of the siblings: those of a dialogue, or from one to three of any."""
    dialogues = catalogue.domains_of_dialogues(source) if settings.dialogue_domains else ()
    if dialogues and rng.random() < settings.dialogue_domains:
        return rng.choice(dialogues)
    domains = catalogue.domains_of(source)
    return rng.sample(domains, min(len(domains), rng.choice((1, 1, 2, 3))))


def draw_form(rng: random.Random, settings: Settings) -> Form:
    """Return the form that a set shall have."""
    forms = (Form.DOMAIN, Form.MIXED, Form.DOMAIN_ACTION)
    shares = (settings.coarse_sets, settings.half_coarse_sets)
    (form,) = rng.choices(forms, (*shares, 1 - sum(shares)))
    return form


def _as_form(
    rng: random.Random, policy: LabelledPolicy, form: Form, catalogue: Catalogue, settings: Settings
) -> LabelledPolicy:
    """Return the policy, or the coarse one of its domain where there is one and the form wants it."""
    coarse = catalogue.policies.get(policy.domain, policy)
    if form is Form.DOMAIN or (form is Form.MIXED and rng.random() < settings.replaced_by_coarse):
        return coarse
    return policy
