"""onnxruntime-genai, with the grammar that it calls guidance."""

from pathlib import Path

import onnxruntime_genai as genai

from peers.answer_paths import as_regex, common_prefix
from peers.backends.backend import Backend, Decided
from peers.cases import Case, Request


class OnnxRuntimeGenai(Backend):
    """One generator a policy set, rewound to the longest common prefix before each request.

    How many threads it takes is in the model's own configuration.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        config = genai.Config(str(folder))
        config.overlay(
            '{"model": {"decoder": {"session_options": {"intra_op_num_threads": %d}}}}' % threads  # noqa: UP031
        )
        self._model = genai.Model(config)
        self._tokenizer = genai.Tokenizer(self._model)
        self._generators: dict[str, genai.Generator] = {}
        self._kept: dict[str, list[int]] = {}

    def decide(self, case: Case, request: Request) -> Decided:
        """Write greedily what the grammar allows."""
        generator = self._generator(case)
        token_ids = [int(token) for token in self._tokenizer.encode(request.prompt)]
        # At least one token has to be new, to have logits to go on from.
        shared = min(common_prefix(token_ids, self._kept[case.name]), len(token_ids) - 1)
        if self._kept[case.name]:
            generator.rewind_to(shared)
        generator.append_tokens(token_ids[shared:])
        while not generator.is_done():
            generator.generate_next_token()
        written = [int(token) for token in generator.get_sequence(0)]
        self._kept[case.name] = written
        answer = self._tokenizer.decode(written[len(token_ids) :])
        return Decided(case.policy(answer.partition("<|im_end|>")[0]), len(token_ids))

    def _generator(self, case: Case) -> genai.Generator:
        if case.name not in self._generators:
            # Another policy set's keys and values would only take memory.
            self._generators.clear()
            longest = max(request.tokens for request in case.requests)
            parameters = genai.GeneratorParams(self._model)
            parameters.set_search_options(do_sample=False, max_length=longest + 64)
            parameters.set_guidance("regex", as_regex(list(case.answers.values())))
            self._generators[case.name] = genai.Generator(self._model, parameters)
            self._kept[case.name] = []
        return self._generators[case.name]
