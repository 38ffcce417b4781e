"""From a bundle on disk to an engine that decides."""

from dataclasses import replace
from pathlib import Path

from archroute_server.bundle.bundle import Bundle, open_bundle
from archroute_server.bundle.errors import BundleError
from archroute_server.engine.engine import Engine
from archroute_server.engine.identity import Identity
from archroute_server.engine.limits import Limits
from archroute_server.engine.self_test import SelfTest
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.frame import ChatFrame, ChatFrameError
from archroute_server.router.prompt import PromptVariant, UnknownPromptVariant
from archroute_server.router.tokenizer import Tokenizer, TokenizerError
from archroute_server.runtime.device_session import DeviceSession
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.optimum_session import OptimumSession
from archroute_server.runtime.providers import Provider, available_providers, choose_provider
from archroute_server.runtime.session import Session

# A prompt's frame and instructions take most of this; what is left is for one short policy and a question.
_LEAST_PROMPT_TOKENS = 512


def prompt_budget(max_prompt_tokens: int, tree_tokens: int, positions: int) -> int:
    """Return how many tokens a prompt may have, where answers are read behind it and need positions too.

    Raises `RuntimeLoadError` if answers leave so few of the model's positions that no prompt would fit.
    """
    left = positions - tree_tokens
    if left < _LEAST_PROMPT_TOKENS:
        remedy = (
            f"set it to at most {positions - _LEAST_PROMPT_TOKENS}"
            if positions > _LEAST_PROMPT_TOKENS
            else "use a model with more"
        )
        raise RuntimeLoadError(
            f"--tree-tokens is {tree_tokens}, which leaves too little for prompts: this model has "
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
) -> Engine:
    """Open the bundle in `folder`, check every file of it, and load it on `provider`.

    `threads` is how many the model computes with, 0 for one on each physical core that the container's CPU
    quota allows. Prompts are cut to
    `max_prompt_tokens`, or to what the model's positions allow if that is less. What `limits` leave to the
    provider, and the shapes that it runs best, are the provider's. `self_test` gives the engine the bundle's
    fixed prompts, for `Engine.run_self_test`.

    Raises `BundleError` for a bundle that is incomplete, altered or not understood, and `RuntimeLoadError`
    for a provider or graph that does not load and for limits that the model is too small for, and
    `SelfTestFailed` if prompts are not written as they were when the bundle was exported.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    chosen = choose_provider(provider, manifest.precision, available_providers())
    limits = limits or Limits()
    limits = replace(
        limits,
        batch_requests=limits.batch_requests or chosen.batch_requests,
        # A session on a device pads by itself, to its buckets.
        shape_bucket=chosen.shape_bucket if chosen.device == "cpu" else 1,
    )
    budget = prompt_budget(max_prompt_tokens, limits.tree_tokens, manifest.model.maximum_positions)
    try:
        encoder = PromptEncoder(
            PromptVariant.load(manifest.prompt.variant),
            ChatFrame.from_json(manifest.prompt.chat_frame),
            Tokenizer.from_file(bundle.tokenizer),
            budget,
        )
    except UnknownPromptVariant as error:
        raise BundleError(f"{folder}: {error}; install a newer archroute") from error
    except (ChatFrameError, TokenizerError) as error:
        raise BundleError(f"{folder}: {error}; export the checkpoint again") from error
    fixed_prompts = _fixed_prompts(bundle, encoder) if self_test else None
    session = session_class(manifest.exporter, chosen)(bundle.graph, manifest.model, chosen, threads)
    temperature = manifest.calibration.temperature if manifest.calibration else None
    identity = Identity(bundle.digest, manifest.prompt.variant, chosen.name, temperature, manifest.precision)
    return Engine(session, encoder, manifest.prompt.end_of_turn, identity, limits, fixed_prompts)


def session_class(
    exporter: str, provider: Provider
) -> type[OptimumSession] | type[DeviceSession] | type[Session]:
    """Return what runs a graph of that exporter, with the KV cache where the provider has it."""
    if exporter == "optimum":
        return OptimumSession
    return Session if provider.device == "cpu" else DeviceSession


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
