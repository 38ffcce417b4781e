"""Tables in Markdown."""

from collections.abc import Iterator, Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write a table line by line; the first column is text, the others are numbers.

    Raises `ValueError` for a row that is not as long as the header.
    """
    yield _row(header)
    yield _row(["---", *("---:" for _ in header[1:])])
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells under a header of {len(header)}")
        yield _row(row)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
