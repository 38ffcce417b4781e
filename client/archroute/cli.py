"""The command `archroute`: finds the subcommand and lets its room do the rest.

A subcommand is imported when it is called, or to be listed, and never before: `archroute --help` must work,
and fast, where the extras are not installed.
"""

import argparse
import difflib
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from archroute.commands import ENTRY_POINT_GROUP, Command, CommandError
from archroute.version import __version__

__all__ = ["main"]

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_NO_READER = 141  # 128 + SIGPIPE

_OWN_PACKAGES = frozenset({"archroute", "archroute_server", "archroute_export", "archroute_evaluation"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `archroute` with `arguments`, or those of the process, and returns the exit status."""
    _tolerate_narrow_encodings()
    try:
        try:
            return _main(arguments)
        finally:
            if sys.stdout is not None:  # as it is where the shell closed it
                sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output, such as `head`, has seen enough. At its exit Python flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NO_READER


def _main(arguments: Sequence[str] | None) -> int:
    available = {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    parser = _parser(available)
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    if parsed.command not in available:
        close = difflib.get_close_matches(parsed.command, available, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(available))}"
        parser.error(f"no command {parsed.command!r}; {hint}")
    return _run(available[parsed.command], parsed.arguments)


def _run(entry_point: EntryPoint, arguments: Sequence[str]) -> int:
    try:
        command: Command = entry_point.load()
    except ImportError as error:
        return _fail(f"archroute: the command {entry_point.name!r} cannot be loaded: {error}", EXIT_ERROR)
    try:
        parser = argparse.ArgumentParser(prog=f"archroute {command.name}", description=command.summary)
        command.add_arguments(parser)
        return command.run(parser.parse_args(arguments))
    except CommandError as error:
        return _fail(f"archroute: {error}", EXIT_ERROR)
    except ModuleNotFoundError as error:
        if command.extra is None or error.name is None or error.name.partition(".")[0] in _OWN_PACKAGES:
            raise
        return _fail(
            f"archroute {command.name} needs the {command.extra!r} extra: "
            f"pip install 'archroute[{command.extra}]' (there is no module {error.name!r})",
            EXIT_USAGE,
        )
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser(available: dict[str, EntryPoint]) -> argparse.ArgumentParser:
    parser = _LazyHelpParser(available)
    parser.add_argument("--version", action="version", version=f"archroute {__version__}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


class _LazyHelpParser(argparse.ArgumentParser):
    """Reads the summaries of the commands when help is asked for, and not before."""

    def __init__(self, available: dict[str, EntryPoint]) -> None:
        super().__init__(
            prog="archroute",
            usage="archroute [--help] [--version] COMMAND ...",
            description="Decides which model a conversation should go to.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._available = available

    def format_help(self) -> str:
        """The help, with every command and its summary."""
        width = max(map(len, self._available), default=0)
        lines = [f"  {name:{width}}  {self._summary(name)}" for name in sorted(self._available)]
        self.epilog = "\n".join(["commands:", *lines, "", "archroute COMMAND --help tells more."])
        return super().format_help()

    def _summary(self, name: str) -> str:
        try:
            command: Command = self._available[name].load()
        except ImportError as error:
            # One room that is broken or absent must not take the help of the others away.
            return f"(cannot be loaded: {error})"
        return command.summary


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"{message}\n")
    return status


def _tolerate_narrow_encodings() -> None:
    # A policy may be called anything; a terminal that is not UTF-8 must not turn its name into a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
