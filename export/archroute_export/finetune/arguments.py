"""Parsers of arguments that the commands of this room share."""

import argparse


def positive(text: str) -> int:
    """Parse a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


# argparse names the type in its message for what is no number at all.
positive.__name__ = "whole number"
