"""Which provider a bundle is loaded on: the one that was named, or the first that works."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from archroute_server.runtime.diagnosis import is_installed
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import AUTO, PROVIDERS, Provider, check_precision, choose_provider

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Fallback:
    """What `auto` prefers, and why it did without."""

    preferred: str
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """A session, and what it runs on."""

    session: S
    provider: Provider
    fallback: Fallback | None = None


def load_on_provider(
    wanted: str, precision: str, load: Callable[[Provider], S], providers: Iterable[Provider] = PROVIDERS
) -> Loaded[S]:
    """Load a bundle of `precision` with `load` on the provider that is `wanted`.

    `auto` takes the first of `providers` that is meant for it, is installed, runs the precision, and loads.
    The CPU does always: what is preferred to it and installed is told in `Loaded.fallback`. A build of ONNX
    Runtime for CPUs alone is nobody's fallback.

    Raises what `choose_provider` and `load` raise, for the provider that was named, or for the last one.
    """
    if wanted != AUTO:
        provider = choose_provider(wanted, precision)
        return Loaded(load(provider), provider)
    *preferred, last = [provider for provider in providers if provider.automatic]
    fallback: Fallback | None = None
    for provider in filter(is_installed, preferred):
        try:
            check_precision(provider, precision)
            return Loaded(load(provider), provider, fallback)
        except RuntimeLoadError as error:
            fallback = fallback or Fallback(provider.name, str(error))
    return Loaded(load(last), last, fallback)
