"""Measuring how far a graph is from the reference, and refusing one that is too far."""

from collections.abc import Sequence

import numpy as np

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.errors import ExportError
from archroute_export.parity.case import ParityCase
from archroute_export.parity.graph import GraphUnderTest
from archroute_export.parity.reference import REFERENCE_NAME, Progress, reference_logits
from archroute_server.bundle.manifest import ParityReport, PrecisionName

# Bounds on the relative error, several times what sound exports show, so that they catch a graph that
# computes something else and not one that rounds. SmolLM2-135M from 4-bit GGUF: 2e-6, 0.002, 0.14, 0.34.
BOUNDS: dict[PrecisionName, float] = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.25, "int4": 0.6}


def check_parity(
    graph: GraphUnderTest,
    checkpoint: Checkpoint,
    cases: Sequence[ParityCase],
    precision: PrecisionName,
    progress: Progress | None = None,
) -> ParityReport:
    """Compare `graph` with the reference on `cases`. Raises `ExportError` if it misses its bound."""
    found = [logits for case in cases for logits in graph.logits(case)]
    expected = [logits for answers in reference_logits(checkpoint, cases, progress) for logits in answers]
    actual, wanted = np.concatenate(found), np.concatenate(expected)
    difference = actual.astype(np.float64) - wanted
    report = ParityReport(
        reference=REFERENCE_NAME,
        prompts=len(cases),
        positions=len(wanted),
        max_error=float(np.abs(difference).max()),
        relative_error=float(np.sqrt(np.mean(difference**2)) / np.std(wanted)),
        same_choice=float(np.mean(actual.argmax(axis=1) == wanted.argmax(axis=1))),
        bound=BOUNDS[precision],
    )
    # Written so that NaN fails.
    if not report.relative_error <= report.bound:
        raise ExportError(
            "the exported graph does not compute what the checkpoint does: the relative error of its logits "
            f"is {report.relative_error:.3g}, and {precision} allows {report.bound:g}. Nothing was written; "
            "try --precision fp32, and report this with the checkpoint's config.json"
        )
    return report
