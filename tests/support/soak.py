"""How long the soak tests run: seconds as a part of `make test`, or as long as `make soak` has them."""

import os
from typing import TypeVar

T = TypeVar("T")

VARIABLE = "SOAK"
LONG = os.environ.get(VARIABLE) == "long"


def pick(*, short: T, long: T) -> T:
    """Return what goes with the length of this run."""
    return long if LONG else short
