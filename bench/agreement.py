"""How often two bundles of one checkpoint decide alike: `python bench/agreement.py fp32/ int8/`.

Compares the choice and the top probability on examples with real conversations, such as `make examples`
builds out of the data that `make sources` fetches (`--examples build/examples/test-*.jsonl`). Without any, it
takes conversations of 1 to 4 user turns from the real dialogues of data/, with 10 policies of which one is
what the dialogue's service offers.
"""

import argparse
import asyncio
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from archroute_server.engine.answer import Answer
from archroute_server.engine.engine import Engine
from archroute_server.engine.loading import load_engine
from archroute_server.router.example_file import read_examples
from archroute_server.router.message import Message
from archroute_server.router.policy import PolicySet
from workload import conversation, policies, read_dialogues

# What one conversation is decided on.
Asked = tuple[PolicySet, list[Message]]

SURE = 0.6
POLICY_SETS = 5
# A conversation longer than this would be cut, alike for both.
MAX_PROMPT_TOKENS = 4096


def from_examples(paths: Sequence[Path], count: int) -> list[Asked]:
    """Return `count` conversations of files of examples, evenly spaced; all if there are fewer.

    Raises `ExampleFileError`.
    """
    examples = [example for path in paths for example in read_examples(path)]
    count = min(count, len(examples))
    chosen = [examples[index * len(examples) // count] for index in range(count)]
    return [(PolicySet("", example.policies), list(example.messages)) for example in chosen]


def requests(count: int) -> list[Asked]:
    """Return `count` conversations of the dialogues in data/, the same ones every time."""
    everything = policies(10 * POLICY_SETS).policies
    sets = [PolicySet(f"sgd-{index}", everything[index::POLICY_SETS]) for index in range(POLICY_SETS)]
    dialogues = read_dialogues()
    made = []
    for index in range(count):
        turns = 1 + index % 4 + 4 * (index // (4 * len(dialogues)))
        made.append((sets[index % POLICY_SETS], conversation(dialogues[index // 4 % len(dialogues)], turns)))
    return made


def top(answer: Answer) -> tuple[str, float]:
    """Return the greedy choice, `other` included, and its probability."""
    probability = answer.decision.probability
    name = answer.decision.policy or "other"
    return name, probability


async def compare(
    reference: Engine, candidate: Engine, asked: Sequence[Asked]
) -> list[tuple[bool, float, float]]:
    """Return for each conversation whether the choices agree, and both top probabilities."""
    rows = []
    for chosen, messages in track(asked, description="Comparing"):
        expected = top(await reference.decide(chosen, messages))
        found = top(await candidate.decide(chosen, messages))
        rows.append((expected[0] == found[0], expected[1], found[1]))
    return rows


def report(rows: Sequence[tuple[bool, float, float]]) -> dict[str, float]:
    """Return shares from 0 to 1 and mean changes of probability."""
    sure = [agrees for agrees, expected, _ in rows if expected >= SURE]
    return {
        "conversations": len(rows),
        "agreement": statistics.fmean(agrees for agrees, _, _ in rows),
        "sure_conversations": len(sure),
        "agreement_where_sure": statistics.fmean(sure) if sure else float("nan"),
        "mean_change_of_top_probability": statistics.fmean(
            abs(found - expected) for _, expected, found in rows
        ),
    }


async def agreement(reference: Path, candidate: Path, asked: Sequence[Asked]) -> dict[str, float]:
    """Load two bundles, compare them, and return what `report` says."""
    engines = [
        load_engine(folder, provider="cpu", threads=0, max_prompt_tokens=MAX_PROMPT_TOKENS)
        for folder in (reference, candidate)
    ]
    rows = await compare(engines[0], engines[1], asked)
    for engine in engines:
        await engine.close(0)
    return report(rows)


def main() -> None:
    """Compare the two bundles that are named and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path, help="the bundle to agree with, for example fp32")
    parser.add_argument("candidate", type=Path)
    parser.add_argument("--examples", type=Path, nargs="+", help="files of examples, in JSON lines")
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    asked = (
        from_examples(arguments.examples, arguments.count)
        if arguments.examples
        else requests(arguments.count)
    )
    print(json.dumps(asyncio.run(agreement(arguments.reference, arguments.candidate, asked)), indent=2))


if __name__ == "__main__":
    main()
