"""Hugging Face transformers on PyTorch."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from peers.answer_paths import AnswerPaths, common_prefix
from peers.backends.backend import Backend, Decided
from peers.cases import Case, Request


class Transformers(Backend):
    """`generate` with a function for the tokens that are allowed, and one cache that is cropped and kept."""

    def __init__(self, folder: Path, threads: int, precision: str) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._end_of_turn = self._tokenizer.eos_token_id
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision))
        self._model = model.eval()
        self._cache = DynamicCache()
        self._kept: list[int] = []
        self._paths: dict[str, AnswerPaths] = {}

    def decide(self, case: Case, request: Request) -> Decided:
        """Write greedily what the answers' tokens allow."""
        paths = self._answer_paths(case)
        token_ids = self._tokenize(request.prompt)
        # At least one token has to be new, to have logits to go on from.
        shared = min(common_prefix(token_ids, self._kept), len(token_ids) - 1)
        self._cache.crop(shared)
        length = len(token_ids)
        written = self._model.generate(
            input_ids=torch.tensor([token_ids]),
            attention_mask=torch.ones(1, length, dtype=torch.long),
            past_key_values=self._cache,
            prefix_allowed_tokens_fn=lambda _, ids: paths.allowed(ids[length:].tolist()),
            max_new_tokens=paths.longest,
            do_sample=False,
            eos_token_id=self._end_of_turn,
            pad_token_id=self._end_of_turn,
        )[0].tolist()
        # What was written last was never read.
        self._kept = written[:-1]
        answer = self._tokenizer.decode(written[length:-1], clean_up_tokenization_spaces=False)
        return Decided(case.policy(answer), length)

    def _tokenize(self, text: str) -> list[int]:
        token_ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return token_ids

    def _answer_paths(self, case: Case) -> AnswerPaths:
        if case.name not in self._paths:
            answers = list(case.answers.values())
            self._paths[case.name] = AnswerPaths(answers, self._tokenize, self._end_of_turn)
        return self._paths[case.name]
