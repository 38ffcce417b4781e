"""Whether an engine answers as torch does: the phase `reference`, and the comparison with it.

torch reads each prompt and the way to each branch of its tree as a plain sequence, in float32, with the
checkpoint's own weights. It shares nothing with the graph, its cache, or its attention bias.
"""

import asyncio
import copy
import math
from typing import Any

from archroute_server.engine.engine import Engine
from archroute_server.router.decision import greedy_answer
from archroute_server.router.message import Message, Role
from archroute_server.router.trie import AnswerTrie
from gpu_run.plan import CHECKPOINT, REQUESTS, Plan
from gpu_run.requests import policies
from peers.results import Results

REFERENCE = "reference"
# Prompts of each case.
_PROMPTS = 2


def reference(plan: Plan, results: Results, found: dict[str, Any]) -> None:
    """Write torch's log probabilities at every branch of the first prompts of each case."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(results.folder / CHECKPOINT, dtype=torch.float32)
    model = model.to(plan.device).eval()
    requests = results.read(REQUESTS)
    found["cases"] = {}
    for case in plan.cases():
        trie = _trie(requests, case.policies)
        with torch.inference_mode():
            found["cases"][case.name] = [
                _rows(model, request["prompt"], trie) for request in requests["cases"][case.name][:_PROMPTS]
            ]


def _trie(requests: dict[str, Any], count: int) -> AnswerTrie:
    answers = requests["policy_sets"][str(count)]
    return AnswerTrie(answers["answers"], answers["sequences"])


def _rows(model: Any, prompt: list[int], trie: AnswerTrie) -> list[list[float]]:
    """Return, for each branch, the log probability of each of its edges."""
    import torch

    known = model(torch.tensor([prompt], device=model.device), use_cache=True, logits_to_keep=1)
    ways: list[tuple[int, ...]] = []
    rows = []
    for branch in trie.branches:
        way = (*ways[branch.parent], *branch.tokens) if branch.parent >= 0 else trie.forced
        ways.append(way)
        logits = known.logits
        if way:
            # A pass writes into the cache that it is given.
            past = copy.deepcopy(known.past_key_values)
            logits = model(
                torch.tensor([way], device=model.device), past_key_values=past, logits_to_keep=1
            ).logits
        choices = logits[0, -1, [edge.token for edge in branch.edges]]
        rows.append(choices.double().log_softmax(0).tolist())
    return rows


async def compare(plan: Plan, results: Results, engine: Engine) -> dict[str, Any]:
    """Return how far the engine is from torch, and how many of its decisions are the same."""
    reference = results.read(REFERENCE).get("cases")
    if not reference:
        return {"skipped": "there are no answers of torch to compare with"}
    requests = results.read(REQUESTS)
    asked, wanted = [], []
    for case in plan.cases():
        chosen = policies(case.policies)
        await engine.warm(chosen)
        for request, expected in zip(requests["cases"][case.name], reference[case.name], strict=False):
            asked.append(engine.read_branches(chosen, [Message(Role.USER, request["text"])]))
            wanted.append(expected)
    # All at once, so that they are packed where the variant packs.
    answers = await asyncio.gather(*asked)
    same = [
        greedy_answer(trie, rows) == greedy_answer(trie, expected)
        for (trie, rows), expected in zip(answers, wanted, strict=True)
    ]
    differences = [
        abs(one - other)
        for (_, rows), expected in zip(answers, wanted, strict=True)
        for row, expected_row in zip(rows, expected, strict=True)
        for one, other in zip(row or (math.inf,) * len(expected_row), expected_row, strict=True)
    ]
    return {
        "prompts": len(same),
        "same_decision": sum(same),
        "largest_difference_of_a_log_probability": max(differences),
    }
