"""What can be wrong with labelled requests."""

from pathlib import Path

from archroute_export.errors import ExportError


class SourceError(ExportError):
    """Labelled requests that cannot be used: names the file, the line (0 if unknown), and the reason."""

    def __init__(self, path: Path, reason: str, *, line: int = 0) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
