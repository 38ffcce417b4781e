"""The fenced code blocks of a Markdown file."""

from dataclasses import dataclass
from pathlib import Path

FENCE = "```"


@dataclass(frozen=True)
class Block:
    """One block: its language, its text, and the line of its first fence, from 1."""

    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"line-{self.line}-{self.language}"


def code_blocks(path: Path) -> list[Block]:
    """Return the blocks in the order of the file. A block without a language has an empty one."""
    blocks = []
    language, start, lines = "", 0, list[str]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith(FENCE):
            lines.append(line)
        elif start:
            blocks.append(Block(language, "\n".join(lines) + "\n", start))
            start = 0
        else:
            language, start, lines = line.removeprefix(FENCE).strip(), number, []
    assert not start, f"{path}:{start}: the block is not closed"
    return blocks
