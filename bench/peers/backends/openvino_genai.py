"""OpenVINO GenAI, with continuous batching, its prefix cache, and its structured output."""

from collections.abc import Sequence
from pathlib import Path

import openvino_genai

from peers.answer_paths import as_regex
from peers.backends.backend import Backend, Decided
from peers.cases import Case, Request

_MAX_ANSWER_TOKENS = 64


class OpenvinoGenai(Backend):
    """The pipeline for language models on the CPU; the precision is the model files' own."""

    batches = True

    def __init__(self, folder: Path, threads: int) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        self._pipeline = openvino_genai.LLMPipeline(
            str(folder), "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=threads
        )
        self._configs: dict[str, openvino_genai.GenerationConfig] = {}

    def decide(self, case: Case, request: Request) -> Decided:
        """Write greedily what the regular expression allows."""
        return self.decide_together(case, [request])[0]

    def decide_together(self, case: Case, requests: Sequence[Request]) -> list[Decided]:
        """Give the pipeline all prompts at once."""
        prompts = [request.prompt for request in requests]
        results = self._pipeline.generate(prompts, self._config(case))
        # The count is of all prompts; one alone can be told.
        tokens = results.perf_metrics.get_num_input_tokens() if len(requests) == 1 else 0
        return [Decided(case.policy(text), tokens) for text in results.texts]

    def _config(self, case: Case) -> openvino_genai.GenerationConfig:
        if case.name not in self._configs:
            config = self._pipeline.get_generation_config()
            config.max_new_tokens = _MAX_ANSWER_TOKENS
            config.do_sample = False
            # The prompt has its chat frame already.
            config.apply_chat_template = False
            regex = as_regex(list(case.answers.values()))
            config.structured_output_config = openvino_genai.StructuredOutputConfig(regex=regex)
            self._configs[case.name] = config
        return self._configs[case.name]
