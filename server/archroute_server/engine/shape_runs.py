"""Runs of a model in given shapes, to see that engines hold what they were built for."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from archroute_server.bundle.manifest import ModelDimensions
from archroute_server.engine.model import Model
from archroute_server.runtime.engines.profile import EngineProfile
from archroute_server.runtime.forward import Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from archroute_server.runtime.shape_buckets import Shape, ShapeBuckets


def profile_shapes(buckets: ShapeBuckets) -> list[Shape]:
    """Return the shapes at the limits of the engines' profile and the one in it that is optimal."""
    profile = EngineProfile.of(buckets)
    return list(dict.fromkeys((profile.minimum, profile.optimum, profile.maximum)))


def run_shape(model: Model, dimensions: ModelDimensions, shape: Shape, largest_pass: int) -> None:
    """Run the model in `shape`, after as many passes of `largest_pass` tokens as fill the cache.

    Raises `ValueError` for logits that are no numbers, and what the model raises.
    """
    cache = model.empty_cache()
    for new in _passes(shape.cached, largest_pass):
        _, cache = model.run(_forward(dimensions, cache, replace(shape, new=new)), cache)
    logits, _ = model.run(_forward(dimensions, cache, shape), cache)
    if not np.isfinite(logits).all():
        raise ValueError("logits are not numbers")


def _passes(tokens: int, largest: int) -> Iterator[int]:
    for start in range(0, tokens, largest):
        yield min(largest, tokens - start)


def _forward(dimensions: ModelDimensions, past: KeyValueCache, shape: Shape) -> Forward:
    """Make a pass over a sequence of one and the same token."""
    last = dimensions.maximum_positions - 1
    return Forward(
        token_ids=np.zeros(shape.new, np.int64),
        positions=np.minimum(np.arange(past.tokens, past.tokens + shape.new), last),
        visible=np.tri(shape.new, past.tokens + shape.new, past.tokens, dtype=np.bool_),
        select=np.arange(shape.rows) % shape.new,
        candidates=np.arange(shape.candidates) % dimensions.vocabulary_size,
    )
