"""In which order tests run, and what a run prints at its end: soak counts, and which languages conform."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.conformance.table import results, table

SUITE = "tests/soak/"

# How long an example takes is as much the machine's doing, and is for a benchmark to say.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of slow tests, so that several test processes end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Here and not beside the tests: with several test processes, the one that reports collects nothing.
    _write_counts(terminalreporter)
    _write_conformance(terminalreporter)


def _write_counts(terminalreporter: pytest.TerminalReporter) -> None:
    rows = list(_rows(terminalreporter))
    if not rows:
        return
    terminalreporter.section("what the soak tests counted")
    test_width = max(len(test) for test, _, _ in rows)
    name_width = max(len(name) for _, name, _ in rows)
    last = ""
    for test, name, value in rows:
        shown = "" if test == last else test
        terminalreporter.write_line(f"{shown:{test_width}}  {name:{name_width}}  {value}")
        last = test


def _rows(terminalreporter: pytest.TerminalReporter) -> Iterator[tuple[str, str, object]]:
    """Give what each test recorded with `record_property`, in the order of their ends."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            # The last report of a test has what its fixtures recorded, too.
            if isinstance(report, pytest.TestReport) and report.when == "teardown":
                test = report.nodeid.replace("\\", "/")
                if test.startswith(SUITE):
                    name, bracket, parameters = test.rpartition("::")[2].partition("[")
                    name = name.removeprefix("test_").replace("_", " ") + bracket + parameters
                    yield from ((name, key, value) for key, value in report.user_properties)


def _write_conformance(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, ())
        if isinstance(report, pytest.TestReport)
    ]
    if found := results(reports):
        terminalreporter.section("conformance")
        for line in table(found):
            terminalreporter.line(line)
