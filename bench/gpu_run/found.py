"""What a run found, as its report and its plot read it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpu_run import phases
from gpu_run.plan import Case, Plan


@dataclass(frozen=True)
class Measured:
    """One provider in one variant, or one peer: `cases` are by name, and within by number of callers."""

    title: str
    ours: bool
    cases: Mapping[str, Mapping[str, Mapping[str, Any]]]
    whole: Mapping[str, Any]

    def figures(self, case: Case, callers: int) -> Mapping[str, Any] | None:
        """Return the figures of a case with so many callers, None if it was not measured."""
        return self.cases.get(case.name, {}).get(str(callers))


class Found:
    """The result of all phases."""

    def __init__(self, plan: Plan, whole: Mapping[str, Any]) -> None:
        self.plan = plan
        self.device: Mapping[str, str] = whole["device"]
        self.outcomes: Mapping[str, Mapping[str, Any]] = whole["phases"]
        self._found: Mapping[str, Any] = whole["found"]

    def phase(self, kind: str) -> Mapping[str, Any]:
        """Return what the only phase of a kind found; empty if it did not run."""
        found: Mapping[str, Any] = self._found.get(kind, {})
        return found

    def measured(self) -> list[Measured]:
        """Return all that decided something: archroute's providers, then transformers."""
        return [*self.engines(), *self._peers()]

    def engines(self) -> Iterator[Measured]:
        """Give archroute's providers and variants that decided something."""
        for phase in phases.phases(self.plan):
            found = self._found.get(phase.name, {})
            if phase.kind == phases.ENGINE and found.get("cases"):
                yield Measured(" ".join(phase.arguments), True, found["cases"], found)

    def _peers(self) -> Iterator[Measured]:
        for phase in phases.phases(self.plan):
            found = self._found.get(phase.name, {})
            if phase.kind == phases.PEER and found.get("cases"):
                # One at a time, so there is no more than one caller.
                cases = {name: {"1": figures["answer"]} for name, figures in found["cases"].items()}
                yield Measured(f"transformers bf16 {phase.arguments[0]}", False, cases, found)

    def floor(self, rows: int) -> float | None:
        """Return the milliseconds of the model's bare products for so many rows; None if not measured."""
        products = self.phase(phases.CEILINGS).get("products", {}).get("float16", {}).get(str(rows))
        return None if products is None else float(products["milliseconds"])
