"""The phase `peer`: the same decisions by `generate` of transformers, in bfloat16 with a static cache.

The policies' keys and values are in the cache before each decision, as they are in archroute's. `generate`
reads what is new and writes an answer token by token, of those that the answers allow. It decides one request
at a time. `compiled` lets it compile its decoding step, which it does by itself for a static cache on a GPU;
`eager` forbids it.
"""

import time
from collections.abc import Callable
from typing import Any

from gpu_run.plan import CHECKPOINT, REQUESTS, Case, Plan
from peers.answer_paths import TokenPaths
from peers.figures import Latency
from peers.results import Results

_LEAST = 2


def run(
    plan: Plan, results: Results, found: dict[str, Any], save: Callable[[], None], compiled: bool
) -> None:
    """Measure every case with one caller: until the first token is written, and the whole answer."""
    import torch
    from transformers import AutoModelForCausalLM

    requests = results.read(REQUESTS)
    model = AutoModelForCausalLM.from_pretrained(results.folder / CHECKPOINT, dtype=torch.bfloat16)
    deciding = _Deciding(model.to(plan.device).eval(), plan, requests, compiled)
    found["cases"] = {}
    with torch.inference_mode():
        for case in plan.cases():
            found["cases"][case.name] = deciding.measure(case)
            save()


class _Deciding:
    def __init__(self, model: Any, plan: Plan, requests: dict[str, Any], compiled: bool) -> None:
        from transformers import StaticCache

        self._model = model
        self._plan = plan
        self._requests = requests
        self._compiled = compiled
        self._paths = {
            count: TokenPaths(answers["sequences"]) for count, answers in requests["policy_sets"].items()
        }
        longest = max(len(each["prompt"]) for case in requests["cases"].values() for each in case)
        room = longest + max(paths.longest for paths in self._paths.values())
        # One size for all cases: a compiled step holds for one.
        self._cache = StaticCache(config=model.config, max_cache_len=room)

    def measure(self, case: Case) -> dict[str, Any]:
        """Return the latencies of a case, in milliseconds."""
        prompts = [request["prompt"] for request in self._requests["cases"][case.name]]
        paths = self._paths[str(case.policies)]
        known = self._requests["policy_sets"][str(case.policies)]["prefix_tokens"]
        self._read_policies(prompts[0][:known])
        return {
            "first_token": self._latency(prompts, known, paths, 1),
            "answer": self._latency(prompts, known, paths, paths.longest),
        }

    def _latency(
        self, prompts: list[list[int]], known: int, paths: TokenPaths, tokens: int
    ) -> dict[str, Any]:
        for prompt in prompts[: self._plan.peer_warm_up]:
            self._decide(prompt, known, paths, tokens)
        seconds: list[float] = []
        for prompt in prompts[self._plan.peer_warm_up :]:
            if len(seconds) >= _LEAST and sum(seconds) > self._plan.peer_seconds:
                break
            seconds.append(self._decide(prompt, known, paths, tokens))
        latency = Latency.of(seconds)
        return {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99, "decisions": latency.decisions}

    def _read_policies(self, tokens: list[int]) -> None:
        import torch

        self._cache.reset()
        ids = torch.tensor([tokens], device=self._model.device)
        self._model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)

    def _decide(self, prompt: list[int], known: int, paths: TokenPaths, tokens: int) -> float:
        """Write an answer, and return the seconds that it took; the cache is made ready before."""
        import torch

        _rewind(self._cache, known)
        ids = torch.tensor([prompt], device=self._model.device)
        self._synchronize()
        start = time.perf_counter()
        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=self._cache,
            prefix_allowed_tokens_fn=lambda _, written: paths.allowed(written[len(prompt) :].tolist()),
            max_new_tokens=tokens,
            do_sample=False,
            disable_compile=not self._compiled,
            eos_token_id=self._requests["end_of_turn"],
            pad_token_id=self._requests["end_of_turn"],
        )
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        import torch

        if self._plan.device == "cuda":
            torch.cuda.synchronize()


def _rewind(cache: Any, tokens: int) -> None:
    """Forget all but the first tokens, in place, so that what was compiled for this cache still holds.

    `StaticLayer` of transformers 4 counts the rows that are not zero, that of transformers 5 keeps
    `cumulative_length`.
    """
    for layer in cache.layers:
        layer.keys[:, :, tokens:].zero_()
        layer.values[:, :, tokens:].zero_()
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length.fill_(tokens)
