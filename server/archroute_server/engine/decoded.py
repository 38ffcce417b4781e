"""Decoded: what running the model over a trie gave."""

from dataclasses import dataclass

from archroute_server.engine.branch_probabilities import Row
from archroute_server.runtime.kv_cache import KeyValueCache


@dataclass(frozen=True, slots=True)
class Decoded:
    """Log probabilities at the branches of a trie, as `router.decision.decide` takes them.

    A branch that the model was not run at is None. `cache` begins with the tokens that were cached before;
    it holds the prompt's token n behind those at n + `offset`, since other prompts may stand between.
    `forward_passes` and the `tokens` that the model read in them, padding among them, are those of all
    questions that were decoded together.
    """

    branches: tuple[Row | None, ...]
    forward_passes: int
    tokens: int
    cache: KeyValueCache
    offset: int = 0
