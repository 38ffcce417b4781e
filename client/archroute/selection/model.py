"""A downstream model: where it is called, what it can do, what it costs."""

from dataclasses import dataclass

__all__ = ["Model", "Price"]


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in one currency for all models, per million tokens."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """The cost of one call."""
        return (input_tokens * self.input + output_tokens * self.output) / 1_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a model map, or one that only the router's answer names, of which nothing is known.

    A model can do only what is said of it. A context window that nobody gave is taken to be large enough.
    """

    name: str
    """As policies name it, for example `openai/gpt-5-mini`."""

    provider: str = ""
    """Whose API serves it; empty if nobody said."""

    endpoint: str = ""
    """What the provider's API calls it. `name` if it is not given."""

    context_window: int | None = None
    """Tokens, of the conversation and of the reply together."""

    vision: bool = False
    tools: bool = False
    json_mode: bool = False
    price: Price | None = None

    weight: float = 1.0
    """Its share under the strategy `weighted`, relative to the other models of a policy. 0 takes none."""

    def __post_init__(self) -> None:
        if not self.endpoint:
            object.__setattr__(self, "endpoint", self.name)
