"""From a bundle on disk to an engine that decides."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from archroute_server.bundle.bundle import Bundle, open_bundle
from archroute_server.bundle.engine_manifest import EngineKey
from archroute_server.bundle.errors import BundleError
from archroute_server.engine.engine import Engine
from archroute_server.engine.identity import Identity
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.engine.self_test import SelfTest
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.frame import ChatFrame, ChatFrameError
from archroute_server.router.prompt import PromptVariant, UnknownPromptVariant
from archroute_server.router.tokenizer import Tokenizer, TokenizerError
from archroute_server.runtime.device.session import DeviceSession
from archroute_server.runtime.diagnosis import make_ready
from archroute_server.runtime.engines.cache import EngineCache
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.optimum_session import OptimumSession
from archroute_server.runtime.provider_choice import load_on_provider
from archroute_server.runtime.providers import AUTO, Provider, choose_provider
from archroute_server.runtime.session import Session
from archroute_server.telemetry.logging import log_event

_logger = logging.getLogger(__name__)

# A prompt's frame and instructions take most of this; what is left is for one short policy and a question.
_LEAST_PROMPT_TOKENS = 512


def prompt_budget(
    max_prompt_tokens: int, tree_tokens: int, positions: int, of: str = "this model has"
) -> int:
    """Return how many tokens a prompt may have, where answers are read behind it and need positions too.

    `of` says whose `positions` these are. Raises `RuntimeLoadError` if answers leave so few of them that no
    prompt would fit.
    """
    left = positions - tree_tokens
    if left < _LEAST_PROMPT_TOKENS:
        remedy = (
            f"set it to at most {positions - _LEAST_PROMPT_TOKENS}"
            if positions > _LEAST_PROMPT_TOKENS
            else "use a model with more"
        )
        raise RuntimeLoadError(
            f"--tree-tokens is {tree_tokens}, which leaves too little for prompts: {of} "
            f"{positions} positions, for a prompt and the answers behind it; {remedy}"
        )
    return min(max_prompt_tokens, left)


def load_engine(
    folder: Path,
    *,
    provider: str,
    threads: int,
    max_prompt_tokens: int,
    limits: Limits | None = None,
    self_test: bool = False,
    engine_cache: Path | None = None,
) -> Engine:
    """Open the bundle in `folder`, check every file of it, and load it on `provider`.

    `threads` is how many the model computes with, 0 for one on each physical core that the container's CPU
    quota allows. Prompts are cut to `max_prompt_tokens`, or to what the model's positions allow if that is
    less. What `limits` leave to the provider, and the shapes that it runs best, are the provider's. Where
    `auto` cannot have the provider that it prefers, the log and the engine's identity say so. `self_test`
    gives the engine the bundle's fixed prompts, for `Engine.run_self_test`. A provider that runs engines
    finds those that were built in `engine_cache`, or in the user's cache folder; see `EngineCache`.

    Raises `BundleError` for a bundle that is incomplete, altered or not understood, and `RuntimeLoadError`
    for a provider or graph that does not load, for limits that the model is too small for and for engines
    that were not built, and `SelfTestFailed` if prompts are not written as they were when the bundle was
    exported.
    """
    bundle = open_bundle(folder)
    settings = EngineSettings(max_prompt_tokens, limits or Limits(), self_test)
    cache = EngineCache(engine_cache)
    return make_engine(bundle, provider, settings, lambda chosen: _load_built(bundle, chosen, threads, cache))


def engine_key(bundle: Bundle, provider: Provider) -> EngineKey | None:
    """Return what the engines of a bundle depend on; None for a provider that builds none.

    Raises `RuntimeLoadError` for a graph that no engines can be built from, and where the provider lacks
    something.
    """
    if provider.engines is None:
        return None
    manifest = bundle.manifest
    if manifest.exporter != "archroute":
        raise RuntimeLoadError(
            f"the {provider.name} provider builds engines from archroute's own graphs, and {bundle.folder} "
            f"has one of {manifest.exporter}: export the checkpoint without --exporter, or use --provider "
            "cuda"
        )
    make_ready(provider)
    return provider.engines.key(provider.name, bundle.digest, manifest.model)


def load_model(bundle: Bundle, provider: Provider, threads: int, engines: Path | None = None) -> Model:
    """Load a bundle's graph. A provider that builds engines reads or writes them in the folder `engines`.

    Raises `RuntimeLoadError`.
    """
    model = bundle.manifest.model
    if bundle.manifest.exporter == "optimum":
        return OptimumSession(bundle.graph, model, provider, threads)
    options: dict[str, str] = {}
    if provider.engines is not None and engines is not None:
        options = provider.engines.options(model, engines)
    if provider.graph not in bundle.manifest.files:
        raise RuntimeLoadError(
            f"{bundle.folder} lacks {provider.graph}, which the {provider.name} provider runs: export the "
            "checkpoint again"
        )
    graph = bundle.folder / provider.graph
    return session_class(provider)(graph, model, provider, threads, options)


def session_class(provider: Provider) -> type[DeviceSession] | type[Session]:
    """Return what runs archroute's own graphs, with the KV cache where the provider has it."""
    return Session if provider.device == "cpu" else DeviceSession


def _load_built(bundle: Bundle, provider: Provider, threads: int, cache: EngineCache) -> Model:
    """Load a bundle's graph, with the engines that were built for it if the provider needs any."""
    if (key := engine_key(bundle, provider)) is None:
        return load_model(bundle, provider, threads)
    with cache.using(key, bundle.folder) as engines:
        return load_model(bundle, provider, threads, engines)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How an engine runs; see `load_engine`."""

    max_prompt_tokens: int = 4096
    limits: Limits = field(default_factory=Limits)
    self_test: bool = True


def open_encoder(bundle: Bundle, max_prompt_tokens: int) -> PromptEncoder:
    """Return what writes and tokenizes the prompts of a bundle, cut to `max_prompt_tokens`.

    Raises `BundleError` for a prompt, a frame or a tokenizer that is not understood.
    """
    prompt = bundle.manifest.prompt
    try:
        return PromptEncoder(
            PromptVariant.load(prompt.variant),
            ChatFrame.from_json(prompt.chat_frame),
            Tokenizer.from_file(bundle.tokenizer),
            max_prompt_tokens,
        )
    except UnknownPromptVariant as error:
        raise BundleError(f"{bundle.folder}: {error}; install a newer archroute") from error
    except (ChatFrameError, TokenizerError) as error:
        raise BundleError(f"{bundle.folder}: {error}; export the checkpoint again") from error


def make_engine(
    bundle: Bundle, provider: str, settings: EngineSettings, load: Callable[[Provider], Model]
) -> Engine:
    """Return an engine of a bundle, whose graph `load` loads once everything else is right.

    Raises what `load_engine` and `load` raise.
    """
    manifest = bundle.manifest
    positions, of = manifest.model.maximum_positions, "this model has"
    engines = None if provider == AUTO else choose_provider(provider, manifest.precision).engines
    if engines is not None and engines.buckets.cached[-1] < positions:
        # A pass is on top of at most all tokens of the prompt and its answers but one.
        positions, of = engines.buckets.cached[-1], f"the engines of the {provider} provider have"
    budget = prompt_budget(settings.max_prompt_tokens, settings.limits.tree_tokens, positions, of)
    encoder = open_encoder(bundle, budget)
    fixed_prompts = _fixed_prompts(bundle, encoder) if settings.self_test else None
    loaded = load_on_provider(provider, manifest.precision, load)
    if loaded.fallback is not None:
        log_event(
            _logger,
            logging.WARNING,
            "the model does not run on the preferred provider",
            provider=loaded.provider.name,
            preferred=loaded.fallback.preferred,
            reason=loaded.fallback.reason,
        )
    temperature = manifest.calibration.temperature if manifest.calibration else None
    identity = Identity(
        bundle.digest,
        manifest.prompt.variant,
        loaded.provider.name,
        temperature,
        manifest.precision,
        loaded.fallback.preferred if loaded.fallback else None,
    )
    limits = _limits(settings.limits, loaded.provider)
    return Engine(loaded.session, encoder, manifest.prompt.end_of_turn, identity, limits, fixed_prompts)


def _limits(limits: Limits, provider: Provider) -> Limits:
    """Fill in what is left to the provider, and keep to the shapes that its engines hold."""
    limits = replace(
        limits,
        batch_requests=limits.batch_requests or provider.batch_requests,
        # A session on a device pads by itself, to its buckets.
        shape_bucket=provider.shape_bucket if provider.device == "cpu" else 1,
    )
    if provider.engines is None:
        return limits
    largest = provider.engines.buckets.new[-1]
    return replace(
        limits,
        forward_tokens=min(limits.forward_tokens, largest),
        # The row is padded to a multiple after its requests were chosen.
        batch_tokens=min(limits.batch_tokens, largest - provider.shape_bucket + 1),
    )


def _fixed_prompts(bundle: Bundle, encoder: PromptEncoder) -> SelfTest | None:
    """Make the bundle's fixed prompts ready, as they are whatever the settings."""
    recorded = bundle.manifest.self_test
    if recorded is None:
        return None
    fixed = PromptEncoder(encoder.variant, encoder.frame, encoder.tokenizer, recorded.max_prompt_tokens)
    try:
        return SelfTest(recorded, fixed, bundle.manifest.prompt.end_of_turn)
    except InvalidRequest as error:
        raise BundleError(
            f"{bundle.folder}: the manifest's self-test cannot be asked: {error}; export the checkpoint again"
        ) from error
