"""The wrong answers, one a line, to look at by hand or to learn from."""

import json

from archroute_evaluation.report.report import Report, WrongAnswer


def errors_file(report: Report) -> bytes:
    """Write each wrong answer, in the order of the lines; the conversations only where they may be shown."""
    return b"".join(_line(wrong) for wrong in report.wrong)


def _line(wrong: WrongAnswer) -> bytes:
    outcome = wrong.outcome
    entry: dict[str, object] = {
        "line": outcome.line,
        "expected": outcome.expected,
        "got": outcome.answer,
        "probability": outcome.probability,
        "probability_of_expected": outcome.probabilities.get(outcome.expected),
    }
    if wrong.messages:
        entry["messages"] = [
            {"role": message.role.value, "content": message.text} for message in wrong.messages
        ]
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
