"""Measures archroute on a GPU: `python bench/gpu.py`. Nothing is downloaded; README.md says what is measured.

Builds a model of Arch-Router-1.5B's shape with random weights, compares its decisions with torch's, and
measures them on every provider that loads, beside transformers and beside what the device can do at most.
Writes gpu-results.json, gpu-results.png and GPU_RESULTS.md. `--dry-run` does the same with a tiny model on
the CPU: its figures mean nothing.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

BENCH = Path(__file__).parent
sys.path[:0] = [str(BENCH.parent / name) for name in ("client", "server", "export", "bench")]

from gpu_run.packages import REQUIRED, missing  # noqa: E402

JSON = "gpu-results.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all phases, and write what was found after each."""
    options = _parser().parse_args(arguments)
    if lacking := missing(REQUIRED):
        raise SystemExit(
            f"bench/gpu.py needs packages that are not installed: pip install {' '.join(lacking)}"
        )
    # They import what was looked for just now.
    from gpu_run.device import describe
    from gpu_run.phases import BUNDLE, phases
    from gpu_run.plan import DRY_RUN, FULL
    from gpu_run.plots import draw
    from gpu_run.report import PLOT, REPORT, tables, write_report
    from gpu_run.running import Runner
    from peers.results import Results

    plan = DRY_RUN if options.dry_run else FULL
    output = options.output or (options.build / "dry-run" if options.dry_run else BENCH)
    output.mkdir(parents=True, exist_ok=True)
    results = Results(plan.shape, options.build)
    runner = Runner(plan, results, options.minutes, _say)
    described = describe(plan)
    whole = {"dry_run": options.dry_run, "device": described, "phases": {}, "found": {}}

    def save() -> None:
        whole["phases"] = {name: vars(outcome) for name, outcome in runner.outcomes.items()}
        whole["found"] = runner.found()
        (output / JSON).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")

    wanted = [
        phase
        for phase in phases(plan)
        if phase.kind == BUNDLE or not options.only or any(part in phase.name for part in options.only)
    ]
    runner.run(wanted, save)
    draw(plan, whole, output / PLOT)
    write_report(plan, whole, output / REPORT)
    for line in tables(plan, whole):
        _say(line)
    _say(f"Written: {output / JSON}, {output / PLOT}, {output / REPORT}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=7.5, help="for all; what has no time left is skipped by name"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="a tiny model on the CPU, to see that all works"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="the phases with this in their names, such as engine-cuda, peer, attention",
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=BENCH.parent / "build" / "gpu",
        help="where the model is kept, 6 GB, for the next run (default: build/gpu)",
    )
    parser.add_argument(
        "--output", type=Path, help="where the results go (default: bench; of a dry run, its build)"
    )
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
