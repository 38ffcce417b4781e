"""Limits: what bounds the engine's work and memory."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on the work of one run of the model, in tokens, and on what is kept between decisions.

    A trie whose branches take more than `tree_tokens` is decoded greedily, and so is every trie with a model
    without tree attention: the choice is the same, and the ranking holds only answers whose probability
    came to light on the way.

    A request by itself takes a further forward pass for every `forward_tokens` new tokens. Up to
    `batch_requests` requests with at most `batch_tokens` new tokens in all are decided in one pass; 0 leaves
    the number to the provider, and an engine that was not told by one decides them one by one.

    At most `queue_requests` requests are under way at a time, with at most `queue_tokens` tokens in all,
    those behind the prompt included; 0 sets no bound.
    """

    tree_tokens: int = 1024
    forward_tokens: int = 1024
    batch_requests: int = 0
    batch_tokens: int = 2048
    batch_wait: float = 0.001
    """Seconds that a request may wait for others to share its pass, where any may; see `Batcher`."""
    shape_bucket: int = 1
    """Cached and new tokens of a forward pass are together padded to a multiple of this."""
    prefix_cache_bytes: int = 256 * 1024 * 1024
    queue_requests: int = 0
    queue_tokens: int = 0
    decision_cache_entries: int = 0
    """Decisions kept to be given again to exactly the same prompt; 0 keeps none."""
    decision_cache_seconds: float = 300.0
    forward_timeout: float = math.inf
    """Seconds that a forward pass may take until the model counts as stalled."""
