"""The phase `bundle`: a checkpoint with random weights, exported as any other."""

import shutil
from pathlib import Path
from typing import Any

from archroute_export.exporting import ExportRequest, export
from archroute_export.progress import Stages
from archroute_server.bundle.bundle import open_bundle
from archroute_server.bundle.manifest import MANIFEST_FILE, Manifest
from archroute_server.engine.loading import open_encoder
from gpu_run.plan import BUNDLE, CHECKPOINT, REQUESTS, SEED, Plan
from gpu_run.requests import RequestMaker, texts
from peers.results import Results
from synthetic.checkpoint import write_random_checkpoint


def run(plan: Plan, results: Results, found: dict[str, Any]) -> None:
    """Write both into the folder of the results, unless they are there."""
    checkpoint, bundle = results.folder / CHECKPOINT, results.folder / BUNDLE
    if not checkpoint.is_dir():
        unfinished = results.folder / ".unfinished-checkpoint"
        shutil.rmtree(unfinished, ignore_errors=True)
        assert plan.shape.config is not None
        write_random_checkpoint(unfinished, plan.shape.config, texts(), plan.tokenizer_size, SEED)
        unfinished.replace(checkpoint)
    if not bundle.is_dir():
        request = ExportRequest(
            source=str(checkpoint),
            output=bundle,
            precision=plan.precision,
            variant=plan.variant,
            replace=False,
        )
        export(request, Stages())
    manifest = Manifest.decode((bundle / MANIFEST_FILE).read_bytes(), str(bundle / MANIFEST_FILE))
    found["bytes"] = sum(file.bytes for file in manifest.files.values())
    found["export_relative_error"] = manifest.parity.relative_error
    results.write(REQUESTS, _make_requests(plan, bundle))


def _make_requests(plan: Plan, folder: Path) -> dict[str, Any]:
    """Return the requests of every case, for the processes that come after this one."""
    bundle = open_bundle(folder)
    end_of_turn = bundle.manifest.prompt.end_of_turn
    maker = RequestMaker(open_encoder(bundle, plan.max_prompt_tokens), end_of_turn)
    return {
        "end_of_turn": end_of_turn,
        "policy_sets": {str(count): maker.answers(count) for count in plan.policies},
        "cases": {case.name: maker.make(case, plan.most) for case in plan.cases()},
    }
