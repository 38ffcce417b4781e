"""JSON and JSON Lines files of published data sets, whose shape is known but should not be trusted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archroute_export.finetune.sources.errors import SourceError


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises `SourceError`."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(path, "is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise SourceError(path, f"is not JSON: {error.msg}", line=error.lineno) from error


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file with their line numbers, from 1. Raises `SourceError`."""
    try:
        with path.open("rb") as file:
            for number, content in enumerate(file, start=1):
                if not content.strip():
                    continue
                try:
                    value = json.loads(content)
                except ValueError as error:
                    raise SourceError(path, f"is not JSON: {error}", line=number) from error
                if not isinstance(value, dict):
                    raise SourceError(path, "must be an object", line=number)
                yield number, value
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror}") from error
