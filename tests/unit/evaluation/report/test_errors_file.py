import json

from archroute_evaluation.report.errors_file import errors_file
from archroute_evaluation.report.report import Report


def test_a_line_for_each_wrong_answer(report: Report, awkward: str) -> None:
    assert [json.loads(line) for line in errors_file(report).splitlines()] == [
        {"line": 2, "expected": awkward, "got": "code", "probability": 0.6, "probability_of_expected": None},
        {"line": 4, "expected": "other", "got": awkward, "probability": 0.4, "probability_of_expected": None},
    ]


def test_text_is_there_only_where_it_may_be(report: Report, report_with_text: Report, secret: str) -> None:
    assert secret not in errors_file(report).decode()
    entry = json.loads(errors_file(report_with_text).splitlines()[0])
    assert entry["messages"][0] == {"role": "user", "content": secret}
