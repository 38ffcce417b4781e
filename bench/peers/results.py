"""What was measured so far, as JSON files: an interrupted run goes on where it stopped."""

import json
from pathlib import Path
from typing import Any

from peers.shapes import Shape

BENCH = Path(__file__).parents[1]
BUILD = BENCH.parent / "build" / "bench"


class Results:
    """The files of one shape.

    build/bench/135m/checkpoint/          the weights that all have in common
                     archroute-int8/ ...  what each peer makes of them
                     cases.json           the requests
                     results/NAME.json    what was measured
                     logs/NAME.log        what a peer's process wrote
    """

    def __init__(self, shape: Shape, build: Path = BUILD) -> None:
        self.shape = shape
        self.folder = build / shape.name

    @property
    def cases(self) -> Path:
        """The requests of the table."""
        return self.folder / "cases.json"

    @property
    def curve_cases(self) -> Path:
        """The requests of the curves."""
        return self.folder / "curve-cases.json"

    def log(self, name: str) -> Path:
        """Where a peer's process writes."""
        return self.folder / "logs" / f"{name}.log"

    def read(self, name: str) -> dict[str, Any]:
        """Return what was written under a name, or an empty object."""
        path = self._path(name)
        if not path.is_file():
            return {}
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write a file whole or not at all."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        new.replace(path)

    def _path(self, name: str) -> Path:
        return self.folder / "results" / f"{name}.json"
