"""The phase `build`: engines for a provider that needs them, as `archroute build-engines` makes them."""

from typing import Any

from archroute_server.building.build import build_engines
from archroute_server.building.progress import Steps
from gpu_run.plan import BUNDLE, ENGINES
from peers.results import Results


def run(results: Results, found: dict[str, Any], provider: str) -> None:
    """Build them beside the bundle, unless they are there."""
    built = build_engines(
        results.folder / BUNDLE,
        provider=provider,
        engine_cache=results.folder / ENGINES,
        force=False,
        steps=Steps(),
    )
    found["found"] = built.found
