"""A stable split: by weight among sessions, and always the same for one session.

Weighted rendezvous hashing: each model gets a score from a hash of itself and the session, and the highest
wins. No model's score depends on the others, so a model that is added takes sessions only to itself, one that
is removed gives away only its own, and a weight that grows only attracts.

Sources: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates, IEEE/ACM Transactions on
Networking 6, 1998; with weights, Schindelhauer and Schomaker, Weighted Distributed Hash Tables, SPAA 2005.
"""

import hashlib
import math

from archroute.selection.model import Model
from archroute.selection.strategies.choice import Choice

__all__ = ["weighted"]


def weighted(choice: Choice) -> tuple[Model, ...]:
    """The models by score, the highest first. Those of weight 0 come last, in the order of the policy."""
    scored = [(_score(choice, model), model) for model in choice.models]
    return tuple(model for _, model in sorted(scored, key=lambda pair: -pair[0]))


def _score(choice: Choice, model: Model) -> float:
    weight = choice.weight(model)
    if weight <= 0:
        return 0.0
    # -ln(u) is exponentially distributed, and so is -ln(u) / weight with the rate `weight`: the least of
    # several is a given one with a probability that is its share of the rates.
    return weight / -math.log(_uniform(choice.salt, model.name, choice.key))


def _uniform(*parts: str) -> float:
    """A number between 0 and 1, neither of them, that is the same on every machine."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = part.encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    # 52 bits and a half: the middle of a step, which a float holds exactly, and which is never 0 or 1.
    return ((int.from_bytes(digest.digest(), "big") >> 12) + 0.5) / 2**52
