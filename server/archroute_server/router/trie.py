"""All legal answers of a policy set as one tree of token ids."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from archroute_server.router.errors import InvalidRequest, Violation, shorten

TokenIds = tuple[int, ...]


@dataclass(frozen=True)
class Edge:
    """A choice at a branch. It leads to another branch or to an answer, never to both.

    `branch` is an index into `AnswerTrie.branches`, `answer` one into `AnswerTrie.answers`.
    """

    token: int
    branch: int | None = None
    answer: int | None = None


@dataclass(frozen=True)
class Branch:
    """A place where the answers part: two edges or more, ordered by token id.

    `parent` is the branch above, -1 for the root. `tokens` leads from there to here: the token chosen at the
    parent first, then those that leave no choice. It is empty for the root, whose way is
    `AnswerTrie.forced`.
    """

    parent: int
    tokens: TokenIds
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Node:
    """A state of the step-by-step walk: the `depth` tokens that the sorted sequences [low, high) share."""

    depth: int
    low: int
    high: int


class AnswerTrie:
    """The answers of a policy set, compressed to the places where there is something to decide.

        {"   route   ":   ␣"  ──┬─ code ──┬─ _generation   "}  <end>     answer 0
        └────── forced ──────┘  │         └─ _review       "}  <end>     answer 1
                                ├─ summar · ization        "}  <end>     answer 2
                                └─ other                   "}  <end>     answer 3
                            branches[0]  branches[1]

    branches[0] = Branch(parent=-1, tokens=(), edges=(code: branch 1, summar: answer 2, other: answer 3))
    branches[1] = Branch(parent=0, tokens=(code,), edges=(_generation: answer 0, _review: answer 1))

    Tokens after the last choice of an answer decide nothing and stand only in `sequences`.

    No node is stored: the sequences are sorted, and a node of the tree is a range of them that share their
    first tokens. Building takes time and memory in proportion to the sequences.
    """

    answers: tuple[str, ...]
    """Names, policies in declaration order, then `other`."""
    sequences: tuple[TokenIds, ...]
    """Token ids of each answer, whole."""
    forced: TokenIds
    """The tokens that all answers begin with."""
    branches: tuple[Branch, ...]
    """The root first, and every branch after its parent."""
    candidates: tuple[int, ...]
    """Every token that some branch chooses among: sorted, each once."""
    choices: tuple[int, ...]
    """For each answer, how many branches are on the way to it; its other tokens follow from them."""

    def __init__(self, answers: Sequence[str], sequences: Sequence[Sequence[int]]) -> None:
        """Build from two answers or more, each with its token sequence.

        Raises `InvalidRequest` naming both policies if two sequences are equal, or if one begins with the
        other, so that the model could not tell them apart.
        """
        if len(answers) != len(sequences) or len(answers) < 2:
            raise ValueError(f"{len(answers)} answers with {len(sequences)} sequences; it takes two or more")
        self.answers = tuple(answers)
        self.sequences = tuple(map(tuple, sequences))
        self._order = sorted(range(len(self.sequences)), key=self.sequences.__getitem__)
        self._sorted = [self.sequences[index] for index in self._order]
        self._refuse_indistinguishable()
        self.forced = self._sorted[0][: self._shared(0, len(self._sorted), 0)]
        self.branches = tuple(self._compress())
        self.candidates = tuple(sorted({edge.token for branch in self.branches for edge in branch.edges}))
        self.choices = self._count_choices()

    # The walk, one token at a time.

    @property
    def root(self) -> Node:
        """Where the walk begins: no token taken yet."""
        return Node(0, 0, len(self._sorted))

    def allowed(self, node: Node) -> TokenIds:
        """Return the tokens that may follow, in ascending order; none at the end of an answer."""
        if self.is_terminal(node):
            return ()
        return tuple(token for token, _, _ in self._groups(node))

    def advance(self, node: Node, token: int) -> Node:
        """Take `token`. Raises `ValueError` if no answer goes on with it."""
        if not self.is_terminal(node):
            at_depth = itemgetter(node.depth)
            low = bisect_left(self._sorted, token, node.low, node.high, key=at_depth)
            high = bisect_right(self._sorted, token, low, node.high, key=at_depth)
            if low < high:
                return Node(node.depth + 1, low, high)
        raise ValueError(f"no answer goes on with token {token} after {node.depth} tokens")

    def is_terminal(self, node: Node) -> bool:
        """Say whether an answer ends here."""
        return node.depth == len(self._sorted[node.low])

    def answer(self, node: Node) -> int:
        """Return the index of the answer that ends here. Raises `ValueError` if none does."""
        if not self.is_terminal(node):
            raise ValueError(f"no answer ends after {node.depth} tokens")
        return self._order[node.low]

    # Building.

    def _refuse_indistinguishable(self) -> None:
        """Compare neighbours: once sorted, a sequence stands right before those that begin with it."""
        violations = []
        for position in range(1, len(self._sorted)):
            shorter, longer = self._sorted[position - 1], self._sorted[position]
            if longer[: len(shorter)] != shorter:
                continue
            first, second = sorted(self._order[position - 1 : position + 1])
            violations.append(
                Violation(
                    f"policies[{second}].name",
                    f"{shorten(self.answers[second])!r} and {shorten(self.answers[first])!r} are the same "
                    "text to the model's tokenizer; rename one of them",
                )
            )
        if violations:
            raise InvalidRequest(*violations)

    def _shared(self, low: int, high: int, start: int) -> int:
        """Return how many first tokens the sorted sequences [low, high) share, at least `start`."""
        first, last = self._sorted[low], self._sorted[high - 1]
        depth = start
        while first[depth] == last[depth]:  # ends: no sequence begins with another
            depth += 1
        return depth

    def _groups(self, node: Node) -> Iterator[tuple[int, int, int]]:
        """Part a node's sequences by their next token: the token, and the range that goes on with it."""
        low, at_depth = node.low, itemgetter(node.depth)
        while low < node.high:
            token = self._sorted[low][node.depth]
            high = bisect_right(self._sorted, token, low, node.high, key=at_depth)
            yield token, low, high
            low = high

    def _compress(self) -> Iterator[Branch]:
        """Walk breadth first over ranges, so that a branch's index is its place in the queue."""
        queue = [(-1, self.root)]
        for index, (parent, node) in enumerate(queue):
            depth = self._shared(node.low, node.high, node.depth)
            edges = []
            for token, low, high in self._groups(Node(depth, node.low, node.high)):
                if high - low == 1:
                    edges.append(Edge(token, answer=self._order[low]))
                else:
                    edges.append(Edge(token, branch=len(queue)))
                    queue.append((index, Node(depth, low, high)))
            tokens = () if parent < 0 else self._sorted[node.low][node.depth : depth]
            yield Branch(parent, tokens, tuple(edges))

    def _count_choices(self) -> tuple[int, ...]:
        depths: list[int] = []
        choices = [0] * len(self.answers)
        for branch in self.branches:
            depths.append(1 + (depths[branch.parent] if branch.parent >= 0 else 0))
            for edge in branch.edges:
                if edge.answer is not None:
                    choices[edge.answer] = depths[-1]
        return tuple(choices)
