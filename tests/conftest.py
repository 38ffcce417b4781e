"""What a test run prints at its end."""

import pytest

from support.conformance.table import results, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which conformance cases held in which languages, if any were run."""
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
