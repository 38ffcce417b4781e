import json

from archroute_evaluation.report.json_document import json_document
from archroute_evaluation.report.report import Report


def test_every_figure_is_there(report: Report, awkward: str) -> None:
    document = json.loads(json_document(report))
    assert document["turn_accuracy"]["value"] == 1 / 3
    assert (document["turn_accuracy"]["hits"], document["turn_accuracy"]["total"]) == (1, 3)
    low, high = document["turn_accuracy"]["interval_95"]
    assert low < 1 / 3 < high
    assert document["other_recall"]["value"] == 0
    assert document["other_precision"] == {"value": None, "hits": 0, "total": 0, "interval_95": None}
    assert document["order_flips"]["failed"] == 2
    assert document["rewording_flips"] is None
    assert document["failures"] == [{"status": "UNAVAILABLE", "reason": "SERVER_STOPPING", "lines": [5]}]
    assert document["accuracy_by"]["language"]["de"]["total"] == 1
    assert {"expected": awkward, "answer": "code", "count": 1, "of": 1} in document["confusions"]
    assert len(document["reliability"]) == 15
    assert document["risk_coverage"][-1]["coverage"] == 1
    assert document["brier_score"] == {"value": None, "count": 0}
    assert document["decided_by"][0]["temperature"] == 1.5


def test_there_is_no_text_in_it(report_with_text: Report, secret: str) -> None:
    assert secret not in json_document(report_with_text).decode()
