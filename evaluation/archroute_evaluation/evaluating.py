"""From a file of examples to a report."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from archroute import Tls
from archroute_evaluation.asking.answer import Answer, Question, RequestFailed
from archroute_evaluation.asking.asking import ask_all
from archroute_evaluation.asking.loaded_bundle import LoadedBundle, Loading, open_bundle
from archroute_evaluation.asking.running_server import RunningServer, open_server
from archroute_evaluation.asking.variants import reworded, shuffled
from archroute_evaluation.errors import EvaluationError
from archroute_evaluation.metrics.evaluation import Evaluation, evaluate
from archroute_evaluation.metrics.flips import Flips, flips
from archroute_evaluation.metrics.outcome import Failure, Outcome
from archroute_evaluation.numbered_example import NumberedExample, read_numbered
from archroute_evaluation.progress import progress_bar
from archroute_evaluation.report.errors_file import errors_file
from archroute_evaluation.report.html import html_report
from archroute_evaluation.report.json_document import json_document
from archroute_evaluation.report.report import Report, WrongAnswer
from archroute_evaluation.report.terminal import show
from archroute_evaluation.whole_file import check_target, write_whole
from archroute_server.router.policy import OTHER

Router = LoadedBundle | RunningServer


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to evaluate, on what, and where the results go.

    `server` is evaluated, or else the bundle `model`, or else the embedded model.
    """

    file: Path
    model: Path | None
    server: str | None
    loading: Loading
    timeout: float
    concurrency: int
    flips: int
    seed: int
    json: Path | None
    html: Path | None
    errors: Path | None
    show_text: bool
    tls: bool | Tls = False
    token: str | None = field(default=None, repr=False)
    """With `tls`, how to reach `server`."""


def evaluate_file(request: EvaluationRequest) -> Evaluation:
    """Ask every example, write the reports and show the table. Raises `EvaluationError`."""
    for target in (request.json, request.html, request.errors):
        if target is not None:
            check_target(target)
    examples = read_numbered(request.file)
    report = asyncio.run(_ask(examples, request))
    show(report)
    if request.json is not None:
        write_whole(request.json, json_document(report))
    if request.html is not None:
        write_whole(request.html, html_report(report))
    if request.errors is not None:
        write_whole(request.errors, errors_file(report))
    return report.evaluation


async def _ask(examples: Sequence[NumberedExample], request: EvaluationRequest) -> Report:
    async with _open(request) as router:
        questions = [example.question for example in examples]
        results = await _ask_router(router, "deciding", questions, request.concurrency)
        answers = {
            example.line: result
            for example, result in zip(examples, results, strict=True)
            if isinstance(result, Answer)
        }
        if not answers:
            raise EvaluationError(
                f"none of the {len(results)} requests was answered; the first: {results[0]}"
            )
        first = {line: answer.name for line, answer in answers.items()}
        again = [example for example in examples if example.line in first]
        order = await _flips(
            router,
            "reordering",
            first,
            [
                (example.line, question)
                for example in again
                for question in shuffled(example.question, request.flips, f"{request.seed}:{example.line}")
            ],
            request.concurrency,
        )
        rewording = await _flips(
            router,
            "rewording",
            first,
            [
                (example.line, question)
                for example in again
                for question in reworded(example.question, example.example.rewordings, request.flips)
            ],
            request.concurrency,
        )
    outcomes, failures = _settle(examples, results)
    evaluation = evaluate(outcomes, failures, other=OTHER, order_flips=order, rewording_flips=rewording)
    messages = {example.line: example.example.messages for example in examples}
    return Report(
        file=str(request.file),
        router=request.server or str(request.model or "the embedded model"),
        decided_by=tuple(dict.fromkeys(answer.decided_by for answer in answers.values())),
        evaluation=evaluation,
        wrong=tuple(
            WrongAnswer(outcome, messages[outcome.line] if request.show_text else ())
            for outcome in outcomes
            if not outcome.right
        ),
        show_text=request.show_text,
    )


@asynccontextmanager
async def _open(request: EvaluationRequest) -> AsyncIterator[Router]:
    if request.server is None:
        async with open_bundle(request.model, request.loading) as bundle:
            yield bundle
    else:
        async with open_server(
            request.server, request.timeout, tls=request.tls, token=request.token
        ) as server:
            yield server


async def _ask_router(
    router: Router, description: str, questions: Sequence[Question], concurrency: int
) -> list[Answer | RequestFailed]:
    with progress_bar(description, len(questions)) as advance:
        return await ask_all(router.ask, questions, concurrency, advance)


async def _flips(
    router: Router,
    description: str,
    first: dict[int, str],
    asked: Sequence[tuple[int, Question]],
    concurrency: int,
) -> Flips | None:
    """Ask further questions, each with its line; None if there are none."""
    if not asked:
        return None
    results = await _ask_router(router, description, [question for _, question in asked], concurrency)
    answered = [
        (line, result.name)
        for (line, _), result in zip(asked, results, strict=True)
        if isinstance(result, Answer)
    ]
    return flips(first, answered, failed=len(asked) - len(answered))


def _settle(
    examples: Sequence[NumberedExample], results: Sequence[Answer | RequestFailed]
) -> tuple[list[Outcome], list[Failure]]:
    outcomes, failures = [], []
    for example, result in zip(examples, results, strict=True):
        if isinstance(result, Answer):
            outcomes.append(example.outcome(result.name, result.probability, result.probabilities))
        else:
            failures.append(example.failure(result.status, result.reason))
    return outcomes, failures
