"""Flags that both subcommands have."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from archroute_server.config import PROVIDER_NAMES, Settings

CONCURRENCY = 8


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Declare how a bundle is run in this process, with the defaults of `archroute serve`."""
    defaults = Settings()
    parser.add_argument(
        "--provider",
        choices=PROVIDER_NAMES,
        default=defaults.provider,
        help="what runs the bundle in this process (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=whole_number(0),
        default=defaults.threads,
        help="threads that run it; 0 for one on each physical core (default: %(default)s)",
    )
    parser.add_argument(
        "--max-prompt-tokens",
        metavar="N",
        type=whole_number(1),
        default=defaults.max_prompt_tokens,
        help="longest prompt; a longer conversation is cut, as a server does (default: %(default)s)",
    )
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=whole_number(1),
        default=CONCURRENCY,
        help="requests under way at once (default: %(default)s)",
    )


def whole_number(minimum: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `minimum`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {minimum}")
        return int(text)

    return parse


def share(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def seconds(text: str) -> float:
    """Parse a time above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def file(text: str) -> Path:
    """Parse a path."""
    return Path(text).expanduser()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
