"""The phases of a run, in their order: what each needs, and how long it may take."""

from collections.abc import Iterator
from dataclasses import dataclass

from archroute_server.runtime.providers import PROVIDERS
from gpu_run.packages import TORCH, TRANSFORMERS, Package
from gpu_run.plan import Plan
from gpu_run.variants import other_providers, variants

BUNDLE = "bundle"
CEILINGS = "ceilings"
REFERENCE = "reference"
BUILD = "build"
ENGINE = "engine"
PEER = "peer"
ATTENTION = "attention"

_ENGINE_SECONDS = 120
# TensorRT takes minutes; what it has built is there for the next run.
_BUILD_SECONDS = 480


@dataclass(frozen=True)
class Phase:
    """One process: a `kind`, and its `arguments`. It is stopped after `seconds`."""

    kind: str
    arguments: tuple[str, ...] = ()
    seconds: float = 60.0
    needs: tuple[Package, ...] = ()

    @property
    def name(self) -> str:
        """What its results are kept under."""
        return "-".join((self.kind, *self.arguments)).replace(" ", "-")

    @property
    def title(self) -> str:
        """What a reader sees."""
        return ", ".join((self.kind, *self.arguments))


def phases(plan: Plan) -> Iterator[Phase]:
    """Give all phases: what others build on first, then what matters most."""
    yield Phase(BUNDLE, seconds=300)
    yield Phase(CEILINGS, seconds=45, needs=(TORCH,))
    yield Phase(REFERENCE, seconds=60, needs=(TORCH, TRANSFORMERS))
    own, *others = _engines(plan)
    packed, *compared = own
    yield packed
    yield Phase(PEER, ("eager",), needs=(TORCH, TRANSFORMERS))
    yield Phase(ATTENTION, seconds=45)
    yield from compared
    yield Phase(PEER, ("compiled",), 90, (TORCH, TRANSFORMERS))
    for engines in others:
        yield from engines


def _engines(plan: Plan) -> Iterator[list[Phase]]:
    """Give the phases of each provider, the device's own first, each with its packed variant first.

    Engines are built before, for a provider that needs them.
    """
    by_name = {provider.name: provider for provider in PROVIDERS}
    for name in (plan.device, *other_providers(plan.device)):
        provider = by_name[name]
        builds = [Phase(BUILD, (name,), _BUILD_SECONDS)] if provider.engines is not None else []
        engines = [Phase(ENGINE, (name, variant.name), _ENGINE_SECONDS) for variant in variants(provider)]
        yield [*builds, *engines]
