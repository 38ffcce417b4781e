"""A prompt read in several forward passes, in every precision, against the same prompt read in one."""

from pathlib import Path

import numpy as np
import pytest

from archroute_server.engine.greedy import decode_greedily
from archroute_server.engine.layout import lay_out
from archroute_server.engine.one_pass import decode_one_pass
from archroute_server.router.answer import answer_trie
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from support.bundles import export_bundle, open_encoder, open_session
from support.checkpoints import write_tiny_checkpoint

POLICIES = PolicySet("", tuple(Policy(name, name) for name in ("data", "database", "code_review", "code")))
PIECE = 64
UNBOUNDED = 10_000


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_pieces_change_nothing(tmp_path: Path, family: str, precision: str) -> None:
    write_tiny_checkpoint(tmp_path / "checkpoint", family=family)  # type: ignore[arg-type]
    bundle = export_bundle(tmp_path / "checkpoint", tmp_path / "bundle", precision)  # type: ignore[arg-type]
    model, encoder = open_session(bundle), open_encoder(bundle)
    trie = answer_trie(POLICIES, encoder.variant, encoder.tokenizer, bundle.manifest.prompt.end_of_turn)
    prompt = encoder.encode(POLICIES, [Message(Role.USER, "please fix this")]).token_ids
    whole = decode_one_pass(model, prompt, lay_out(trie), model.empty_cache(), UNBOUNDED)
    pieces = decode_one_pass(model, prompt, lay_out(trie), model.empty_cache(), PIECE)
    # Most of them hold no row that logits are read at.
    assert pieces.forward_passes > 4
    loop = decode_greedily(model, prompt, trie, model.empty_cache(), PIECE)
    for found in (pieces.branches, loop.branches):
        for row, expected in zip(found, whole.branches, strict=True):
            if row is not None:
                # Pieces are added up in another order, which the rounding of a token's values can double.
                np.testing.assert_allclose(np.exp(row), np.exp(expected or ()), atol=2e-3)
