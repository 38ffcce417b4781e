from pathlib import Path

import pytest

from peers.cases import Case, read_cases, write_cases


def test_cases_are_read_as_they_were_written(tmp_path: Path, case: Case) -> None:
    write_cases(tmp_path / "new" / "cases.json", [case])
    assert read_cases(tmp_path / "new" / "cases.json") == {case.name: case}


def test_an_answer_names_a_policy(case: Case) -> None:
    assert case.policy('{"route": "travel"}') == "travel"
    assert case.policy('{"route": "other"}') == "other"


@pytest.mark.parametrize("text", ["", "travel", '{"route": "travel"} ', '{"route": "cooking"}'])
def test_what_is_no_legal_answer_is_refused(case: Case, text: str) -> None:
    with pytest.raises(ValueError, match="is not an answer of 10 policies, 4 turns"):
        case.policy(text)


def test_the_length_of_a_prompt_is_the_median(case: Case) -> None:
    assert case.prompt_tokens == 33
