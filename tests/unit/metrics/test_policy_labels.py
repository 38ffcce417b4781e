from dataclasses import replace

import pytest

from archroute_server.metrics.policy_labels import INLINE, MORE, NONE, PolicyLabels
from archroute_server.telemetry.finished_request import DecidedRequest

MATCHED = DecidedRequest("MATCHED", "code", 0.9, "coding", 5, 4, 0, 0, 3, 1, False, None, 0.0, 0.0, 0.1)


@pytest.mark.parametrize(
    ("decided", "labels"),
    [
        (MATCHED, ("coding", "code")),
        (replace(MATCHED, outcome="OTHER", policy=None), ("coding", "other")),
        (replace(MATCHED, outcome="LOW_CONFIDENCE", policy=None), ("coding", NONE)),
        (replace(MATCHED, outcome="FALLBACK", policy="review"), ("coding", "review")),
        (replace(MATCHED, policy_set="", policy="a name that the caller chose"), (INLINE, INLINE)),
    ],
)
def test_names(decided: DecidedRequest, labels: tuple[str, str]) -> None:
    assert PolicyLabels().of(decided) == labels


def test_there_are_never_more_than_the_bound() -> None:
    labels = PolicyLabels(bound=3)
    given = [labels.of(replace(MATCHED, policy=f"policy {number}")) for number in range(100)]
    assert given[:3] == [("coding", f"policy {number}") for number in range(3)]
    assert set(given[3:]) == {(MORE, MORE)}
    # What was there before goes on under its own name.
    assert labels.of(replace(MATCHED, policy="policy 1")) == ("coding", "policy 1")
