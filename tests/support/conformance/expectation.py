"""Comparing what came with what was expected."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def differences(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    """Say where `found` is not as expected. It may hold fields that nothing is expected of."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name, value in expected.items():
            if name in found:
                yield from differences(value, found[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is missing in {dict(found)}"
    elif _is_list(expected) and _is_list(found) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif isinstance(expected, float) and isinstance(found, int | float):
        if not math.isclose(expected, found):
            yield f"{path} is {found}, not {expected}"
    elif expected != found:
        yield f"{path} is {found!r}, not {expected!r}"


def last_code(result: Mapping[str, Any]) -> str:
    """The status that a stream, or else its last answer, ended with."""
    if "error" in result:
        return str(result["error"]["code"])
    errors = [answer["error"]["code"] for answer in result["answers"] if "error" in answer]
    return str(errors[-1]) if errors else "OK"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
