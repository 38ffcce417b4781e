"""The legal answers as token ids, for libraries that ask which tokens may come next."""

from collections.abc import Callable, Iterable, Sequence


class TokenPaths:
    """Which tokens may follow the beginning of an answer: `answers` are token ids, their end included."""

    def __init__(self, answers: Iterable[Sequence[int]]) -> None:
        self._next: dict[tuple[int, ...], list[int]] = {}
        self._longest = 0
        for path in answers:
            self._longest = max(self._longest, len(path))
            for end, token in enumerate(path):
                allowed = self._next.setdefault(tuple(path[:end]), [])
                if token not in allowed:
                    allowed.append(token)

    @property
    def longest(self) -> int:
        """How many tokens the longest answer has, its end included."""
        return self._longest

    def allowed(self, written: Sequence[int]) -> list[int]:
        """Return what may follow `written`, and nothing after the end.

        Raises `KeyError` if no answer begins so.
        """
        written = tuple(written)
        if written in self._next:
            return self._next[written]
        if written and written[-1] in self._next.get(written[:-1], ()):
            return []
        raise KeyError(f"no answer begins with the tokens {written}")


class AnswerPaths(TokenPaths):
    """The paths of answers as text: `tokenize` is the peer's own, and every answer ends in `end_of_turn`."""

    def __init__(
        self, answers: Sequence[str], tokenize: Callable[[str], list[int]], end_of_turn: int
    ) -> None:
        super().__init__([*tokenize(answer), end_of_turn] for answer in answers)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Return with how many equal tokens two sequences begin."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def as_regex(answers: Sequence[str]) -> str:
    """Write a regular expression of exactly these answers, as Python, Rust and XGrammar read it alike."""
    special = frozenset(r"\.^$|?*+()[]{}/-")
    return "|".join(
        "".join(f"\\{character}" if character in special else character for character in answer)
        for answer in answers
    )


def as_gbnf(answers: Sequence[str]) -> str:
    """Write a grammar of exactly these answers, in llama.cpp's form."""
    literals = (answer.replace("\\", "\\\\").replace('"', '\\"') for answer in answers)
    return "root ::= " + " | ".join(f'"{literal}"' for literal in literals)
