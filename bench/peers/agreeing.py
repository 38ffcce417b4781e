"""How often the int8 bundle decides as the fp32 bundle of the same weights does."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from agreement import agreement, from_examples, requests
from peers import machine
from peers.peer import ENGINE, PEERS
from peers.preparing import REFERENCE
from peers.results import Results

NAME = "agreement"


def measure_agreement(
    results: Results, examples: Sequence[Path], count: int, say: Callable[[str], None]
) -> None:
    """Compare the two on `count` conversations of the files, or of the sample if none is named."""
    if results.read(NAME):
        say("The agreement is measured already")
        return
    asked = from_examples(examples, count) if examples else requests(count)
    candidate = results.folder / PEERS[ENGINE].files
    figures = asyncio.run(agreement(results.folder / REFERENCE, candidate, asked))
    source = ", ".join(path.name for path in examples) or "bench/data"
    results.write(NAME, {"machine": machine.describe(), "source": source, **figures})
    say(f"  {figures['agreement']:.1%} of {figures['conversations']} conversations")
