import pytest

from archroute.request import RouteRequest, to_request
from archroute.selection import AnswerCache
from archroute.selection.answer_cache import question
from archroute.testing import decision

CODE = decision("code")


def test_an_answer_is_kept_for_its_time() -> None:
    cache = AnswerCache(seconds=60)
    cache.put(b"q", CODE, now=0)
    assert cache.get(b"q", now=59.9) is CODE
    assert cache.get(b"q", now=60) is None
    assert len(cache) == 0


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = AnswerCache(entries=2)
    for name in (b"a", b"b"):
        cache.put(name, CODE, now=0)
    assert cache.get(b"a", now=0) is CODE
    cache.put(b"c", CODE, now=0)
    assert [cache.get(name, now=0) is CODE for name in (b"a", b"b", b"c")] == [True, False, True]


def test_without_entries_nothing_is_kept() -> None:
    cache = AnswerCache(entries=0)
    cache.put(b"a", CODE, now=0)
    assert cache.get(b"a", now=0) is None


def test_a_question_is_all_but_its_session() -> None:
    first = question(to_request(RouteRequest(messages="hi", session_id="one")))
    assert first == question(to_request(RouteRequest(messages="hi", session_id="two")))
    others = [
        RouteRequest(messages="hi!"),
        RouteRequest(messages="hi", policy_set="mine"),
        RouteRequest(messages="hi", policies=[]),
        RouteRequest(messages="hi", min_probability=0.5),
    ]
    assert first not in {question(to_request(each)) for each in others}


@pytest.mark.parametrize("wrong", [{"entries": -1}, {"seconds": 0}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a cache needs"):
        AnswerCache(**wrong)
