"""Bars on a terminal, and lines where there is none."""

import io

import pytest
from rich.console import Console

from archroute_server.building.progress import Steps


def shown(terminal: bool, total: int | None) -> str:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=120)
    with Steps(console).step("building [engines]", total) as advance:
        for _ in range(total or 0):
            advance()
    return written.getvalue()


def test_without_a_terminal_a_step_is_a_line() -> None:
    assert shown(terminal=False, total=3) == "building [engines] ...\n"


@pytest.mark.parametrize("total", [None, 3])
def test_on_a_terminal_it_is_a_bar(total: int | None) -> None:
    text = shown(terminal=True, total=total)
    assert "━" in text
    assert ("3/3" in text) == (total == 3)


def test_a_step_that_fails_says_nothing_of_it() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=False)
    with pytest.raises(ZeroDivisionError), Steps(console).step("building"):
        raise ZeroDivisionError
    assert written.getvalue() == "building ...\n"
