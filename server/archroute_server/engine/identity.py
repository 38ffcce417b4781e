"""Identity: what decides."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What decides: the same identity and the same request give the same decision."""

    bundle_digest: str
    prompt_variant: str
    provider: str
    temperature: float | None = None
    """What the model's probabilities are calibrated with; None if the bundle never was, which is 1."""
    precision: str = ""
    """Of the model's weights, as the bundle's manifest names it."""
