"""Builds engines, and keeps them if they answer as the bundle recorded.

    build ── run the profile's shapes ── end the session ── load what was written ── the fixed prompts ── keep

What is tested is what was read back from the disk, as a server will read it: ONNX Runtime does not look
whether a disk took all of an engine, and TensorRT-RTX writes when its session ends.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from archroute_server.building.progress import Steps
from archroute_server.bundle.bundle import Bundle, open_bundle
from archroute_server.bundle.engine_manifest import EngineManifest
from archroute_server.bundle.errors import BundleError
from archroute_server.engine.errors import ModelFailed
from archroute_server.engine.limits import Limits
from archroute_server.engine.loading import EngineSettings, engine_key, load_model, make_engine
from archroute_server.engine.self_test import SelfTestFailed, SelfTestReport
from archroute_server.engine.shape_runs import profile_shapes, run_shape
from archroute_server.runtime.engines.cache import EngineCache, rereading, seal
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import Provider, choose_provider


class EnginesRefused(Exception):
    """Engines that were built and do not compute what the bundle does; the message names what they did."""


# What a person can put right; the messages say how.
BUILD_ERRORS = (BundleError, EnginesRefused, RuntimeLoadError)


@dataclass(frozen=True, slots=True)
class BuiltEngines:
    """Engines that a server can use."""

    folder: Path
    manifest: EngineManifest
    found: bool
    """Whether they were there already."""


def build_engines(
    folder: Path, *, provider: str, engine_cache: Path | None, force: bool, steps: Steps
) -> BuiltEngines:
    """Build the engines of the bundle in `folder`, unless they are there already and `force` is false.

    `engine_cache` is as `EngineCache` has it. Whatever goes wrong, engines that were there stay as they were,
    and no others are kept. Raises the `BUILD_ERRORS`.
    """
    bundle = open_bundle(folder)
    chosen = choose_provider(provider, bundle.manifest.precision)
    key = engine_key(bundle, chosen)
    if key is None:
        raise RuntimeLoadError(f"the {chosen.name} provider builds no engines: serve with it right away")
    if bundle.manifest.self_test is None:
        raise BundleError(
            f"{folder} has no fixed prompts to test engines with, since it was exported before there were "
            "any; export the checkpoint again"
        )
    cache = EngineCache(engine_cache)
    if not force and (manifest := cache.find(key)) is not None:
        return BuiltEngines(cache.folder(key), manifest, found=True)
    with cache.building(key) as unfinished:
        _build(bundle, chosen, unfinished, steps)
        with steps.step("testing them on the fixed prompts"), rereading(unfinished):
            report = asyncio.run(_test(bundle, chosen, unfinished))
        seal(unfinished, key, prompts=report.prompts, difference=report.difference, bound=report.bound)
    manifest = cache.find(key)
    assert manifest is not None
    return BuiltEngines(cache.folder(key), manifest, found=False)


def _build(bundle: Bundle, provider: Provider, folder: Path, steps: Steps) -> None:
    """Have the provider write engines into `folder`; it is done when its session has ended."""
    with steps.step(f"building engines for {provider.name}"):
        model = load_model(bundle, provider, 0, folder)
    assert provider.engines is not None
    buckets, dimensions = provider.engines.buckets, bundle.manifest.model
    shapes = profile_shapes(buckets)
    with steps.step("running them in their shapes", len(shapes)) as advance:
        for shape in shapes:
            try:
                run_shape(model, dimensions, shape, buckets.new[-1])
            except Exception as error:
                raise EnginesRefused(
                    f"the engines do not run a pass of {shape.new} tokens on {shape.cached} cached ones "
                    f"({type(error).__name__}: {error}), so none were kept. Look whether the GPU has enough "
                    "memory, or use --provider cuda; if that does not help, report it"
                ) from error
            advance()


async def _test(bundle: Bundle, provider: Provider, folder: Path) -> SelfTestReport:
    """Ask the fixed prompts. Raises `EnginesRefused`, and what `make_engine` raises."""
    # Not more than half of the positions of a small model, which leaves the rest to the prompts.
    tree_tokens = min(Limits().tree_tokens, bundle.manifest.model.maximum_positions // 2)
    settings = EngineSettings(limits=Limits(tree_tokens=tree_tokens))
    try:
        engine = make_engine(
            bundle, provider.name, settings, partial(load_model, bundle, threads=0, engines=folder)
        )
        try:
            report = await engine.run_self_test()
        finally:
            await engine.close(grace=0)
    except SelfTestFailed as error:
        raise EnginesRefused(f"the engines were not kept: {error}") from error
    except ModelFailed as error:
        cause = error.__cause__ or error
        raise EnginesRefused(
            f"the engines were not kept: they fail at the fixed prompts ({type(cause).__name__}: {cause}); "
            "use --provider cuda, and report it"
        ) from error
    assert report is not None  # the bundle has fixed prompts
    return report
