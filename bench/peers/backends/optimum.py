"""optimum's ORTModelForCausalLM on ONNX Runtime."""

from pathlib import Path

import onnxruntime
import torch
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoTokenizer

from peers.answer_paths import AnswerPaths, common_prefix
from peers.backends.backend import Backend, Decided
from peers.cases import Case, Request

# For each layer its keys and values, `[1, heads, tokens, head size]`.
_Past = tuple[tuple[torch.Tensor, torch.Tensor], ...]


class Optimum(Backend):
    """One call of the model for the prompt and one for each token of the answer, as `generate` does it.

    `generate` itself takes no keys and values from before, so the loop is here.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        torch.set_grad_enabled(False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._model = ORTModelForCausalLM.from_pretrained(folder, session_options=options)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._end_of_turn: int = self._tokenizer.eos_token_id
        self._paths: dict[str, AnswerPaths] = {}
        self._past: _Past | None = None
        self._kept: list[int] = []

    def decide(self, case: Case, request: Request) -> Decided:
        """Write greedily what the answers' tokens allow."""
        paths = self._answer_paths(case)
        token_ids = self._tokenize(request.prompt)
        # At least one token has to be new, to have logits to go on from.
        shared = min(common_prefix(token_ids, self._kept), len(token_ids) - 1)
        past = self._first_tokens(shared)
        fresh, written = token_ids[shared:], []
        while allowed := paths.allowed(written):
            logits, past = self._forward(fresh, past)
            if not written:
                # The answer's own are of no use to the next prompt.
                self._past, self._kept = past, token_ids
            token = max(allowed, key=lambda candidate: float(logits[candidate]))
            written.append(token)
            fresh = [token]
            if token == self._end_of_turn:
                break
        answer = self._tokenizer.decode(written[:-1], clean_up_tokenization_spaces=False)
        return Decided(case.policy(answer), len(token_ids))

    def _forward(self, fresh: list[int], past: _Past | None) -> tuple[torch.Tensor, _Past]:
        """Return the logits of the last token, and the keys and values with all of `fresh`."""
        before = 0 if past is None else past[0][0].shape[2]
        total = before + len(fresh)
        outputs = self._model(
            input_ids=torch.tensor([fresh]),
            attention_mask=torch.ones(1, total, dtype=torch.long),
            position_ids=torch.arange(before, total)[None],
            past_key_values=past,
            use_cache=True,
        )
        return outputs.logits[0, -1], outputs.past_key_values

    def _first_tokens(self, count: int) -> _Past | None:
        if self._past is None or not count:
            return None
        return tuple((keys[:, :, :count], values[:, :, :count]) for keys, values in self._past)

    def _tokenize(self, text: str) -> list[int]:
        token_ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return token_ids

    def _answer_paths(self, case: Case) -> AnswerPaths:
        if case.name not in self._paths:
            answers = list(case.answers.values())
            self._paths[case.name] = AnswerPaths(answers, self._tokenize, self._end_of_turn)
        return self._paths[case.name]
