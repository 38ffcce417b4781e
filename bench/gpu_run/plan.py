"""What is measured: on a GPU, and in a dry run."""

from collections.abc import Iterator
from dataclasses import dataclass

from archroute_export.checkpoint.shape import ModelShape
from archroute_server.bundle.manifest import PrecisionName
from peers.shapes import SHAPES, Shape

SEED = 0

# What one phase leaves for others, beside its results.
CHECKPOINT = "checkpoint"
BUNDLE = "bundle"
ENGINES = "engines"
REQUESTS = "requests"
"""The name of the result that holds the requests of every case."""


@dataclass(frozen=True)
class Case:
    """Decisions of one size: new tokens that the model reads for each, on top of so many policies."""

    new_tokens: int
    policies: int

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.new_tokens} new tokens, {self.policies} policies"


@dataclass(frozen=True)
class Plan:
    """Sizes and efforts. `device` is torch's name of what the model runs on."""

    shape: Shape
    device: str
    precision: PrecisionName
    new_tokens: tuple[int, ...]
    policies: tuple[int, ...]
    callers: tuple[int, ...]
    batch_requests: int
    """Requests in one pass when they are packed; 0 leaves it to the provider."""
    seconds: float
    """For each case and number of callers, unless the requests run out."""
    most: int
    """Requests of a case that are prepared; all are different."""
    products_rows: tuple[int, ...]
    """Rows for which the bare matrix products of the model are measured."""
    square: int
    """Rows and columns of the large product that shows the device's peak."""
    copied_bytes: int
    repeats: int
    """Of each product, copy and attention graph."""
    peer_seconds: float
    peer_warm_up: int
    """Decisions of the peer that are not counted; it compiles in the first few."""
    max_prompt_tokens: int = 4096
    tree_tokens: int = 1024
    cached_tokens: int = 4608
    """What the prefix cache has room for: the policies, and fewer conversations than there are in turn.

    So that each is gone before it is asked for again: 256 of the shortest have some 20 tokens of their own.
    """
    tokenizer_size: int = 6000
    variant: str = "archroute/compact"

    def cases(self) -> Iterator[Case]:
        """Give every case, few policies first."""
        return (Case(tokens, count) for count in self.policies for tokens in self.new_tokens)

    def prefix_cache_bytes(self) -> int:
        """Return what the keys and values of `cached_tokens` take."""
        assert self.shape.config is not None
        model = ModelShape.from_config(self.shape.config)
        floats = 2 * model.layers * model.key_value_heads * model.head_size
        return self.cached_tokens * floats * (2 if self.precision == "fp16" else 4)

    def main_case(self) -> Case:
        """The case that the aims are about: 220 new tokens and 10 policies on a GPU."""
        return Case(self.new_tokens[1], self.policies[0])


FULL = Plan(
    shape=SHAPES["1.5b"],
    device="cuda",
    precision="fp16",
    new_tokens=(60, 220, 900),
    policies=(10, 100),
    callers=(1, 8, 32, 128),
    batch_requests=0,
    seconds=0.5,
    most=256,
    products_rows=(60, 220, 900, 2048),
    square=8192,
    copied_bytes=2**30,
    repeats=50,
    peer_seconds=1.5,
    peer_warm_up=3,
)

_TINY = {
    **(SHAPES["1.5b"].config or {}),
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 6144,
}

DRY_RUN = Plan(
    shape=Shape("dry-run", "a tiny model with random weights", _TINY),
    device="cpu",
    precision="fp32",
    new_tokens=(60, 90),
    policies=(10, 20),
    callers=(1, 4),
    batch_requests=4,
    seconds=0.05,
    most=24,
    products_rows=(60,),
    square=128,
    copied_bytes=2**20,
    repeats=3,
    peer_seconds=0.05,
    peer_warm_up=1,
    cached_tokens=1024,
)
