"""Decoder: runs the model for questions, in the way that suits the model and their size."""

from collections.abc import Sequence

from archroute_server.engine.decoded import Decoded
from archroute_server.engine.greedy import decode_greedily
from archroute_server.engine.layout import BranchLayout
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.engine.one_pass import decode_together
from archroute_server.engine.packed_row import Question
from archroute_server.runtime.kv_cache import KeyValueCache


class Decoder:
    """All branches in one pass where the model and the limits allow it, else one choice at a time."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self._model = model
        self._limits = limits

    def takes_one_pass(self, layout: BranchLayout) -> bool:
        """Say whether all branches are read at once; only such questions can be decoded together."""
        return self._model.tree_attention and len(layout.token_ids) <= self._limits.tree_tokens

    def decode(self, questions: Sequence[Question], past: KeyValueCache | None) -> list[Decoded]:
        """Decode the questions, all of which begin with the tokens of `past`.

        Several questions are one forward pass: their number was chosen so. Raises whatever the model does.
        """
        model, limits = self._model, self._limits
        past = model.empty_cache() if past is None else past
        if len(questions) > 1:
            return decode_together(model, questions, past, multiple=limits.shape_bucket)
        (question,) = questions
        if self.takes_one_pass(question.layout):
            return decode_together(model, questions, past, limits.forward_tokens, limits.shape_bucket)
        return [decode_greedily(model, question.prompt, question.layout.trie, past, limits.forward_tokens)]
