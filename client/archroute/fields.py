"""Checks of what a caller passes in, each of which names the field and says what to do."""

from archroute.errors import FieldViolation, InvalidRequestError

__all__ = ["checked_text", "invalid", "kind_of"]


def invalid(field: str, description: str) -> InvalidRequestError:
    """The error for one wrong field, found before any call."""
    return InvalidRequestError(
        f"{field}: {description}", field_violations=(FieldViolation(field, description),)
    )


def kind_of(value: object) -> str:
    """How an error names the type of a value. Never the value: it may be conversation text."""
    return "null" if value is None else f"a {type(value).__name__}"


def checked_text(value: object, field: str) -> str:
    """Returns `value` if it is a string that UTF-8 can carry.

    Raises:
        InvalidRequestError: It is no string, or it contains a lone surrogate, which is what bytes that are
            not UTF-8 become under `surrogateescape` and what half of a `\\ud83d\\ude00` pair in JSON is.
    """
    if not isinstance(value, str):
        raise invalid(field, f"must be a string, not {kind_of(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # Without its cause: a UnicodeEncodeError holds the whole text.
        raise invalid(
            field,
            f"is not valid Unicode: a lone surrogate U+{ord(value[error.start]):04X} at character "
            f"{error.start}; decode the bytes it came from as UTF-8, or drop such characters with "
            'text.encode("utf-8", "replace").decode()',
        ) from None
    return value
