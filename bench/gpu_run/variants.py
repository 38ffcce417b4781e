"""The variants of a provider that are compared: with packing and without, with graph capture and without."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from archroute_server.runtime import providers
from archroute_server.runtime.providers import PROVIDERS, Provider

CPU = "cpu"


@dataclass(frozen=True)
class Variant:
    """How requests are run: whether they share a pass, and whether passes are captured and replayed."""

    name: str
    packed: bool = True
    graph_capture: bool = True


WITHOUT_GRAPH_CAPTURE = Variant("without graph capture", graph_capture=False)
_ALL = (Variant("packed"), WITHOUT_GRAPH_CAPTURE, Variant("one by one", packed=False))


def variants(provider: Provider) -> Iterator[Variant]:
    """Give the variants that the table of providers offers for one."""
    return (variant for variant in _ALL if variant.graph_capture or _captures(provider))


def named(name: str) -> Variant:
    """Return the variant of that name."""
    return next(variant for variant in _ALL if variant.name == name)


def other_providers(device: str) -> list[str]:
    """Return the providers to try beside the device's own: all, but not the CPU's on a GPU."""
    names = [provider.name for provider in reversed(PROVIDERS)]
    return [name for name in names if name not in (device, CPU)]


def forbid_graph_capture() -> None:
    """Change the table of providers, in this process alone, so that none captures its passes."""
    providers.PROVIDERS = tuple(
        replace(provider, graph_capture=False) if _captures(provider) else provider
        for provider in providers.PROVIDERS
    )


def _captures(provider: Provider) -> bool:
    return provider.graph_capture
