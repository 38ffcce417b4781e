from archroute_server.metrics.caller_labels import ANONYMOUS, MORE, CallerLabels
from archroute_server.telemetry.caller_name import CallerName


def test_callers_with_a_token_have_their_name_and_others_have_none() -> None:
    labels = CallerLabels()
    assert labels.of(CallerName("gateway", known=True)) == "gateway"
    assert labels.of(CallerName("ipv4:10.0.0.1", known=False)) == ANONYMOUS
    assert labels.of(None) == ANONYMOUS


def test_there_are_only_so_many_names() -> None:
    labels = CallerLabels(bound=2)
    found = [labels.of(CallerName(name, known=True)) for name in ("a", "b", "c", "a", "d")]
    assert found == ["a", "b", MORE, "a", MORE]
