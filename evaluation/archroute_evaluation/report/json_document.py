"""The report as JSON, for programs."""

import json
from dataclasses import asdict
from typing import Any

from archroute_evaluation.metrics.evaluation import Evaluation
from archroute_evaluation.metrics.flips import Flips
from archroute_evaluation.metrics.proportion import Proportion
from archroute_evaluation.report.report import Report


def json_document(report: Report) -> bytes:
    """Write every figure; one that is not known or not measured is null. Shares are from 0 to 1.

    No text of a conversation is in it.
    """
    document = {
        "file": report.file,
        "router": report.router,
        "decided_by": [asdict(by) for by in report.decided_by],
        **_evaluation(report.evaluation),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "examples": evaluation.examples,
        "answered": evaluation.answered,
        "failures": [asdict(failure) for failure in evaluation.failures],
        "turn_accuracy": _proportion(evaluation.turn_accuracy),
        "span_accuracy": _proportion(evaluation.span_accuracy),
        "conversation_accuracy": _proportion(evaluation.conversation_accuracy),
        "other_precision": _proportion(evaluation.other.precision),
        "other_recall": _proportion(evaluation.other.recall),
        "macro_f1": evaluation.macro_f1,
        "expected_calibration_error": evaluation.calibration_error,
        "calibration_error_by_chance": evaluation.calibration_error_by_chance,
        "brier_score": asdict(evaluation.brier),
        "area_under_risk_coverage": evaluation.risk_coverage_area,
        "order_flips": _flips(evaluation.order_flips),
        "rewording_flips": _flips(evaluation.rewording_flips),
        "accuracy_by": {
            breakdown.title: {group.label: _proportion(group.accuracy) for group in breakdown.groups}
            for breakdown in evaluation.breakdowns
        },
        "confusions": [asdict(confusion) for confusion in evaluation.confusions],
        "reliability": [asdict(each) for each in evaluation.reliability],
        "risk_coverage": [asdict(point) for point in evaluation.risk_coverage],
    }


def _proportion(proportion: Proportion) -> dict[str, Any]:
    return {
        "value": proportion.share,
        "hits": proportion.hits,
        "total": proportion.total,
        "interval_95": proportion.interval,
    }


def _flips(flips: Flips | None) -> dict[str, Any] | None:
    if flips is None:
        return None
    return {
        "examples": _proportion(flips.examples),
        "answers": _proportion(flips.answers),
        "failed": flips.failed,
    }
