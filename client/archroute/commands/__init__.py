"""What a subcommand of `archroute` is.

A room adds its subcommand with an entry point in the group `archroute.commands` that names a `Command`.
Reading the `Command` must be cheap: its module imports the standard library and `archroute` alone, and
`run` imports the rest.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["ENTRY_POINT_GROUP", "Command", "CommandError"]

ENTRY_POINT_GROUP = "archroute.commands"


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand, as its entry point names it."""

    name: str
    """What a person types after `archroute`."""

    summary: str
    """One line for `archroute --help`."""

    extra: str | None
    """The extra of the distribution that `run` needs, such as `server`; None if the base install does."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    """Declares the flags of the subcommand on its own parser."""

    run: Callable[[argparse.Namespace], int]
    """Does the work and returns the exit status. May raise `CommandError`."""


class CommandError(Exception):
    """Ends a subcommand with exit status 1 and its message on standard error, without a traceback."""
