import json
from pathlib import Path

import pytest

from archroute_evaluation.errors import EvaluationError
from archroute_evaluation.metrics.outcome import Failure
from archroute_evaluation.numbered_example import read_numbered

LINE = {
    "policies": [{"name": "a", "description": "One thing"}, {"name": "b", "description": "Another"}],
    "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "and now b"},
    ],
    "policy": "b",
    "language": "en",
    "tags": {"conversation": "7"},
}


def test_examples_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n\n{json.dumps(LINE)}\n", encoding="utf-8")
    first, second = read_numbered(path)
    assert (first.line, second.line) == (1, 3)
    assert [policy.name for policy in second.question.policies.policies] == ["a", "b"]
    outcome = second.outcome("b", 0.75, {"b": 0.75})
    assert outcome.right
    assert (outcome.line, outcome.policies, outcome.turns, outcome.language) == (3, 2, 2, "en")
    assert outcome.conversation == "7"
    assert second.failure("UNAVAILABLE", "X") == Failure(3, "UNAVAILABLE", "X", "7")


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{{\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"examples\.jsonl:2: is not JSON"):
        read_numbered(path)
