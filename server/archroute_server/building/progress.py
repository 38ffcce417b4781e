"""Steps: what is being done, and for how long already, as a bar on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Steps:
    """Shows one bar for each step of a long job; without a terminal, one line for each.

    A step of unknown length, as TensorRT says nothing of how far it is, has a bar that moves all the time.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    @contextmanager
    def step(self, description: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Show a bar while the block runs; call what is given after each of `total` parts."""
        if not self._console.is_terminal:
            self._console.print(f"{description} ...", markup=False, highlight=False, soft_wrap=True)
        progress = Progress(
            TextColumn("{task.description:<40}"),
            BarColumn(),
            *([MofNCompleteColumn()] if total else []),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        with progress:
            task = progress.add_task(description, total=total)
            yield lambda: progress.advance(task)
            progress.update(task, total=total or 1, completed=total or 1)
