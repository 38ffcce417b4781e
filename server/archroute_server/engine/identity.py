"""Identity: what decides."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What decides: the same identity and the same request give the same decision."""

    bundle_digest: str
    prompt_variant: str
    provider: str
    """The one that runs the model, never `auto`."""
    temperature: float | None = None
    """What the model's probabilities are calibrated with; None if the bundle never was, which is 1."""
    precision: str = ""
    """Of the model's weights, as the bundle's manifest names it."""
    preferred_provider: str | None = None
    """What `auto` would have run the model on and could not; None if nothing stood in its way."""
