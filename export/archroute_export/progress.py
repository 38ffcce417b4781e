"""Progress on the terminal: what is being done, how far it is, and how long it will take."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Called with how much is done and how much there is in all, in any one unit.
Advance = Callable[[int, int], None]


class Stages:
    """Shows one bar for each stage of a long job; without a terminal, one line for each."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, description: str) -> Iterator[Advance]:
        """Show a bar while the stage runs."""
        if not self._console.is_terminal:
            self.say(f"{description} ...")
        task = self._progress.add_task(description, total=None)

        def advance(done: int, total: int) -> None:
            self._progress.update(task, completed=done, total=total)

        with self._progress:
            yield advance
            self._progress.update(task, completed=1, total=1)
