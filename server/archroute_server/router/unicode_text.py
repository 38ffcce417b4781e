"""Which strings are text that can be tokenized and shown."""

import unicodedata

_UNPRINTABLE = frozenset({"Cc", "Zl", "Zp"})  # control characters, line and paragraph separators


def has_lone_surrogate(text: str) -> bool:
    """Say whether half of a surrogate pair stands alone: such a string has no UTF-8 form.

    JSON's `\\ud83d` without its other half decodes to one.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def control_character(text: str, *, allowed: str = "") -> str | None:
    """Return the first character that controls a terminal or breaks a line, or None."""
    for character in text:
        if unicodedata.category(character) in _UNPRINTABLE and character not in allowed:
            return character
    return None
