import threading

from archroute import SelectionOutcome, SelectionReason
from archroute.selection import Counters


def test_every_reason_is_counted_under_its_outcome() -> None:
    counters = Counters()
    for number, reason in enumerate(SelectionReason, start=1):
        for _ in range(number):
            counters.selected(reason)
    counted = counters.snapshot()
    assert list(counted.by_reason.values()) == list(range(1, len(SelectionReason) + 1))
    assert counted.selections == sum(counted.by_reason.values()) == sum(counted.by_outcome.values())
    assert counted.by_outcome[SelectionOutcome.ROUTED] == 1 + 2
    assert counted.by_outcome[SelectionOutcome.HELD] == 3 + 4 + 5 + 6


def test_threads_lose_nothing() -> None:
    counters = Counters()

    def count() -> None:
        for _ in range(2_000):
            counters.selected(SelectionReason.ANSWERED)
            counters.called()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = counters.snapshot()
    assert (counted.selections, counted.calls) == (8_000, 8_000)


def test_a_snapshot_stays_as_it_was() -> None:
    counters = Counters()
    before = counters.snapshot()
    for event in (counters.switched, counters.reported, counters.reward_failed):
        event()
    after = counters.snapshot()
    assert (before.switches, before.reports, before.reward_errors) == (0, 0, 0)
    assert (after.switches, after.reports, after.reward_errors) == (1, 1, 1)
