"""From files of examples to a calibrated bundle."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archroute_evaluation.asking.answer import RequestFailed
from archroute_evaluation.asking.asking import ask_all
from archroute_evaluation.asking.loaded_bundle import Loading, open_bundle
from archroute_evaluation.errors import EvaluationError
from archroute_evaluation.fitting.choices import ChoiceTable, right_choices
from archroute_evaluation.fitting.minimum import propose_minimum
from archroute_evaluation.fitting.temperature import fit_temperature
from archroute_evaluation.metrics.accuracy import turn_accuracy
from archroute_evaluation.metrics.outcome import Outcome
from archroute_evaluation.metrics.reliability import calibration_error_by_chance, expected_calibration_error
from archroute_evaluation.numbered_example import NumberedExample, read_numbered
from archroute_evaluation.progress import progress_bar
from archroute_evaluation.report.calibration import CalibrationReport, show_calibration
from archroute_evaluation.whole_file import check_target, write_whole
from archroute_server.bundle.errors import BundleError
from archroute_server.bundle.manifest import MANIFEST_FILE, Calibration, Manifest
from archroute_server.router.decision import Outcome as Ending
from archroute_server.router.decision import Rows, decide
from archroute_server.router.policy import OTHER
from archroute_server.router.trie import AnswerTrie


@dataclass(frozen=True, slots=True)
class CalibrationRequest:
    """What to calibrate, on which examples, and whether to keep what comes of it."""

    files: tuple[Path, ...]
    model: Path
    loading: Loading
    precision: float
    concurrency: int
    write: bool
    copy: Path | None = None
    """A file that the calibration is written to as well."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """An example, and what the model says at the branches of its answers."""

    example: NumberedExample
    trie: AnswerTrie
    rows: Rows

    def outcome(self, temperature: float) -> Outcome:
        """Return what the router answers at a temperature."""
        policies = self.example.question.policies
        decision = decide(self.trie, self.rows, policies, temperature=temperature)
        return self.example.outcome(
            OTHER if decision.outcome is Ending.OTHER else str(decision.policy),
            decision.probability,
            {ranked.policy: ranked.probability for ranked in decision.ranking},
        )


def calibrate(request: CalibrationRequest) -> Calibration:
    """Fit, show what was found, and write it into the bundle's manifest. Raises `EvaluationError`."""
    if request.write and request.model.is_dir():
        check_target(request.model / MANIFEST_FILE)
    if request.copy:
        check_target(request.copy)
    examples = [example for path in request.files for example in read_numbered(path)]
    fitted_on = _digest(request.files)
    readings, failures = asyncio.run(_read(examples, request))
    fit = fit_temperature(
        ChoiceTable([right_choices(each.trie, each.rows, each.example.example.expected) for each in readings])
    )
    before = [reading.outcome(1.0) for reading in readings]
    after = [reading.outcome(fit.temperature) for reading in readings]
    minimum = propose_minimum(after, request.precision)
    calibration = Calibration(
        temperature=fit.temperature,
        examples=len(readings),
        fitted_on=fitted_on,
        loss_before=fit.loss_before,
        loss_after=fit.loss_after,
        error_before=expected_calibration_error(before) or 0.0,
        error_after=expected_calibration_error(after) or 0.0,
        precision=request.precision,
        min_probability=minimum.probability if minimum else None,
        coverage=minimum.coverage.share if minimum else None,
    )
    replaced = _keep(calibration, request)
    show_calibration(
        CalibrationReport(
            folder=str(request.model),
            calibration=calibration,
            replaced=replaced,
            written=request.write,
            accuracy=turn_accuracy(after),
            error_by_chance=calibration_error_by_chance(after) or 0.0,
            minimum=minimum,
            at_bound=fit.at_bound,
            failed=failures,
        )
    )
    return calibration


async def _read(
    examples: Sequence[NumberedExample], request: CalibrationRequest
) -> tuple[list[_Reading], tuple[int, ...]]:
    """Return what the model says of each example, and the lines of those that it cannot be asked."""
    async with open_bundle(request.model, request.loading) as bundle:
        with progress_bar("reading", len(examples)) as advance:
            questions = [example.question for example in examples]
            results = await ask_all(bundle.read, questions, request.concurrency, advance)
    readings, failed = [], []
    for example, result in zip(examples, results, strict=True):
        if isinstance(result, RequestFailed):
            failed.append(example.line)
        else:
            readings.append(_Reading(example, *result))
    if not readings:
        raise EvaluationError(f"none of the {len(results)} examples can be decided; the first: {results[0]}")
    return readings, tuple(failed)


def _keep(calibration: Calibration, request: CalibrationRequest) -> Calibration | None:
    """Write the manifest again, with the calibration in it, if asked to; return the one that it had."""
    path = request.model / MANIFEST_FILE
    try:
        manifest = Manifest.decode(path.read_bytes(), str(path))
    except (OSError, BundleError) as error:
        raise EvaluationError(f"{path} cannot be read again: {error}") from error
    if request.write:
        write_whole(path, manifest.with_calibration(calibration).encode())
    if request.copy:
        write_whole(request.copy, calibration.encode())
    return manifest.calibration


def _digest(paths: Sequence[Path]) -> str:
    """Return `sha256:<hex>` of the files, one after the other."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error
    return f"sha256:{digest.hexdigest()}"
