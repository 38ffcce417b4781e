"""The process of one phase: `python -m gpu_run.worker BUILD full|dry-run KIND ARGUMENT...`.

What it finds is written down as it goes, so that a phase that is stopped leaves what it has. What goes wrong
is written down as `error`, and ends it with a traceback on standard error and a status other than 0.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gpu_run import phases
from gpu_run.plan import DRY_RUN, FULL, Plan
from gpu_run.variants import named
from peers.results import Results


def main(arguments: list[str]) -> None:
    """Carry out one phase."""
    build, size, kind, *rest = arguments
    plan = {"full": FULL, "dry-run": DRY_RUN}[size]
    results = Results(plan.shape, Path(build))
    phase = phases.Phase(kind, tuple(rest))
    found: dict[str, Any] = {}
    save = partial(results.write, phase.name, found)
    try:
        _carry_out(kind, rest, plan, results, found, save)
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        save()


def _carry_out(
    kind: str,
    rest: list[str],
    plan: Plan,
    results: Results,
    found: dict[str, Any],
    save: Callable[[], None],
) -> None:
    """Import the modules of one phase, and no others: each needs packages of its own."""
    if kind == phases.BUNDLE:
        from gpu_run import bundle

        bundle.run(plan, results, found)
    elif kind == phases.CEILINGS:
        from gpu_run import ceilings

        ceilings.run(plan, found, save)
    elif kind == phases.REFERENCE:
        from gpu_run import parity

        parity.reference(plan, results, found)
    elif kind == phases.BUILD:
        from gpu_run import engine_building

        engine_building.run(results, found, *rest)
    elif kind == phases.ENGINE:
        from gpu_run import engines

        provider, variant = rest
        engines.run(plan, results, found, save, provider, named(variant))
    elif kind == phases.PEER:
        from gpu_run import peer

        peer.run(plan, results, found, save, compiled=rest == ["compiled"])
    else:
        from gpu_run import attention

        attention.run(plan, found, save)


if __name__ == "__main__":
    main(sys.argv[1:])
    # All is written. What libraries do when a process ends can crash, and would count as a failure.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
