"""A checkpoint with the true shape of Arch-Router-1.5B and random weights."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from peers.shapes import SHAPES
from synthetic.checkpoint import write_random_checkpoint

# Enough merges that the prompt's words are one token each, as they are to the true tokenizer.
_TOKENIZER_SIZE = 4000


def write_full_size_checkpoint(folder: Path, seed: int = 0) -> int:
    """Write about 3 GB of bfloat16 weights into `folder` and return how many parameters they are."""
    config = SHAPES["1.5b"].config
    assert config is not None
    texts = (path.read_text(encoding="utf-8") for path in _texts())
    return write_random_checkpoint(folder, config, texts, _TOKENIZER_SIZE, seed)


def _texts() -> Iterator[Path]:
    prompts = resources.files("archroute_server.router") / "prompts" / "arch-router"
    yield Path(str(prompts / "model-card.txt"))
    yield Path(str(resources.files("archroute_export.parity") / "prompts.yaml"))
