"""When a provider wants to be asked again.

Sources: RFC 9110, section 10.2.3, for `Retry-After`, in seconds or as a date; `retry-after-ms`, in
milliseconds, is what OpenAI and Azure send beside it.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after"]


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from `now`, which has a time zone; None if the headers do not say, or not in a way that can be
    read. The names of the headers are in lower case, or know no case."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date without a zone is one of `-0000`, which means UTC.
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
