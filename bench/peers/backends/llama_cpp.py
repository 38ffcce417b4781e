"""llama.cpp through llama-cpp-python."""

from pathlib import Path

from llama_cpp import Llama, LlamaGrammar

from peers.answer_paths import as_gbnf
from peers.backends.backend import Backend, Decided
from peers.cases import Case, Request

_CONTEXT = 8192
# No answer is as long; a grammar ends the text before.
_MAX_ANSWER_TOKENS = 64


class LlamaCpp(Backend):
    """The high-level interface, which keeps the longest common prefix of two prompts in the context.

    `LlamaRAMCache` would copy the whole context after each answer; one context is enough for one policy set
    at a time.
    """

    def __init__(self, gguf: Path, threads: int) -> None:
        self._model = Llama(
            str(gguf), n_ctx=_CONTEXT, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self._grammars: dict[str, LlamaGrammar] = {}

    def decide(self, case: Case, request: Request) -> Decided:
        """Write greedily what the grammar allows."""
        if case.name not in self._grammars:
            grammar = as_gbnf(list(case.answers.values()))
            self._grammars[case.name] = LlamaGrammar.from_string(grammar, verbose=False)
        completion = self._model.create_completion(
            request.prompt,
            max_tokens=_MAX_ANSWER_TOKENS,
            temperature=0.0,
            grammar=self._grammars[case.name],
        )
        return Decided(case.policy(completion["choices"][0]["text"]), completion["usage"]["prompt_tokens"])

    def close(self) -> None:
        """Free the model."""
        self._model.close()
