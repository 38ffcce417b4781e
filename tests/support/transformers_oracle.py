"""The same checkpoint in transformers, to compare with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, GenerationConfig


class TransformersOracle:
    """A checkpoint folder, run by transformers in one float type."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager"
        ).eval()

    @torch.inference_mode()
    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.floating[Any]]:
        """Return the logits of the whole vocabulary at every position: `[n, V]`."""
        logits: npt.NDArray[np.floating[Any]] = self.model(torch.tensor([tokens])).logits[0].numpy()
        return logits

    @torch.inference_mode()
    def generate(self, prompt: Sequence[int], end_of_turn: int, limit: int) -> tuple[int, ...]:
        """Decode greedily over the whole vocabulary; the end of the turn is part of what comes back.

        The checkpoint's own generation_config.json, with its sampling and repetition penalty, is not used.
        """
        ids = torch.tensor([prompt])
        config = GenerationConfig(
            do_sample=False, max_new_tokens=limit, eos_token_id=end_of_turn, pad_token_id=end_of_turn
        )
        self.model.generation_config = config
        generated = self.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        return tuple(generated[0, len(prompt) :].tolist())
