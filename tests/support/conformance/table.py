"""The table of languages and cases that a test run ends with."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import pytest

# The name of the property that a test of one case in one language reports.
PROPERTY = "conformance"

SIGNS: Mapping[str, str] = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


def results(reports: Iterable[pytest.TestReport]) -> dict[str, dict[str, str]]:
    """What became of each case (outer) in each language (inner), in the order of the reports."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for report in reports:
        for name, value in report.user_properties:
            if name == PROPERTY:
                language, case = value  # type: ignore[misc]  # the types say object
                if found[case].get(language) != SIGNS["failed"]:
                    found[case][language] = SIGNS[report.outcome]
    return dict(found)


def table(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The lines of the table. What was not run in a language has no entry there."""
    languages = list(dict.fromkeys(language for case in found.values() for language in case))
    width = max(map(len, found), default=0)
    columns = [max(len(language), len(SIGNS["skipped"])) for language in languages]

    def line(first: str, cells: Iterable[str]) -> str:
        return "  ".join([first.ljust(width), *map(str.ljust, cells, columns)]).rstrip()

    return [
        line("", languages),
        *(line(case, (by.get(language, "") for language in languages)) for case, by in found.items()),
    ]
