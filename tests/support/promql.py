"""What a PromQL expression names. Enough for the expressions of this project, not a parser."""

import re

# What stands between names: strings, ranges, the labels of an aggregation, and functions.
_STRINGS = re.compile(r'"[^"]*"')
_LABEL_LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTORS = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_RANGES = re.compile(r"\[[^\]]*\]")
_FUNCTIONS = re.compile(r"\b[a-z_]\w*\s*(?=\()")
_NAMES = re.compile(r"(?<![\w.])[a-zA-Z_:][\w:]*")
_OPERATORS = {"and", "or", "unless", "bool", "offset", "by", "without"}


def metric_names(expression: str) -> set[str]:
    """The metrics that an expression reads, those of recording rules among them."""
    bare = _STRINGS.sub("", expression)
    bare = _SELECTORS.sub(lambda found: found[1] or "", bare)
    bare = _FUNCTIONS.sub("", _LABEL_LISTS.sub("", _RANGES.sub("", bare)))
    return set(_NAMES.findall(bare)) - _OPERATORS


def label_names(expression: str) -> set[str]:
    """The labels that an expression selects or aggregates by."""
    bare = _STRINGS.sub("", expression)
    selected = {
        match for _, inside in _SELECTORS.findall(bare) for match in re.findall(r"(\w+)\s*[=!]", inside)
    }
    listed = {
        label.strip() for inside in _LABEL_LISTS.findall(bare) for label in inside.split(",") if label.strip()
    }
    return selected | listed
