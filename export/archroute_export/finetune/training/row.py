"""Training rows: one policy set and several conversations about it, read in one go.

The prompt puts the policies first, so prompts of one policy set share their beginning. A row holds it once;
each conversation follows as a block that sees the shared tokens and itself, at the positions that it would
have alone. It is the layout in which the server answers several requests at once, and computes the same as
one row for each conversation, at a fraction of the cost:

    shared                   block 1                     block 2
    - a: ...  - b: ...       user: ... {"route": "       user: ... {"route": "
    0 .................. 99  100 ............... 140     100 ............ 131        positions

Conversations that begin alike, as the turns of one dialogue do, are one block: a tree, in which a token sees
those on its way to the root. So a dialogue is read once, however many of its turns are asked about:

    user: ... ┬ assistant: ... user: ... ┬ assistant: ...
              └ {"route": "              └ {"route": "

A branch ends before the last choice of its answer. At every place where the answers of the policy set part,
there is one `Choice`: only those are trained, because the server asks the model for nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archroute_export.errors import ExportError
from archroute_server.router.answer import answer_trie
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.example import Example
from archroute_server.router.policy import PolicySet
from archroute_server.router.trie import AnswerTrie

# Conversations with fewer tokens in common are read apart: it costs less than to mask them from each other.
_FEWEST_IN_COMMON = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """A branch on the way to the right answer: which of `candidates` follows token `index` of the block."""

    index: int
    candidates: tuple[int, ...]
    right: int
    """The place of the right token among the candidates."""
    example: int = 0
    """Which of the block's examples it belongs to."""


@dataclass(frozen=True, slots=True)
class Block:
    """What conversations that begin alike add to the shared tokens, and the choices to get right.

    `parents` has for each token the index of the one before it, and -1 for those that follow the shared
    tokens; a parent comes before its children.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    choices: tuple[Choice, ...]
    examples: int

    @property
    def depths(self) -> list[int]:
        """How many tokens of the block come before each one, on its way from the shared tokens."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        return depths


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids that all blocks begin with, and the blocks."""

    shared: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def length(self) -> int:
        """How many tokens are computed."""
        return len(self.shared) + sum(len(block.tokens) for block in self.blocks)

    @property
    def examples(self) -> int:
        """How many conversations are decided."""
        return sum(block.examples for block in self.blocks)


@dataclass(frozen=True, slots=True)
class _Tokens:
    """One example as if it stood alone; the choices' indices count from its first token."""

    token_ids: tuple[int, ...]
    prompt_length: int
    choices: tuple[Choice, ...]


class RowBuilder:
    """Turns examples into rows.

    `encoder` bounds whole prompts; the limits are those of `TrainingSettings`. Raises `ExportError` for
    policies that do not fit the prompt.
    """

    def __init__(
        self,
        encoder: PromptEncoder,
        end_of_turn: int,
        *,
        requests_per_row: int,
        row_tokens: int,
        conversation_tokens: int,
    ) -> None:
        self._encoder = encoder
        self._end_of_turn = end_of_turn
        self._requests_per_row = requests_per_row
        self._row_tokens = row_tokens
        self._conversation_tokens = conversation_tokens

    def rows(self, examples: Sequence[Example]) -> Iterator[Row]:
        """Yield rows: examples with equal policies, in the same order, share rows in order of appearance."""
        groups: dict[PolicySet, list[Example]] = {}
        for example in examples:
            groups.setdefault(PolicySet("training", example.policies), []).append(example)
        for policies, members in groups.items():
            yield from self._rows(policies, members)

    def _rows(self, policies: PolicySet, examples: Sequence[Example]) -> Iterator[Row]:
        try:
            trie = answer_trie(policies, self._encoder.variant, self._encoder.tokenizer, self._end_of_turn)
            encoder = self._bounded(policies)
            tokens = [_tokens(encoder, policies, trie, example) for example in examples]
        except InvalidRequest as error:
            first = ", ".join(policy.name for policy in policies.policies[:3])
            raise ExportError(f"the examples whose policies begin with {first}: {error}") from error
        pending: list[_Tokens] = []
        for each in tokens:
            if pending and (
                len(pending) == self._requests_per_row or _join([*pending, each]).length > self._row_tokens
            ):
                yield _join(pending)
                pending = []
            pending.append(each)
        yield _join(pending)

    def _bounded(self, policies: PolicySet) -> PromptEncoder:
        """Return an encoder that leaves these policies' conversations what they may have."""
        whole = self._encoder
        used = whole.budget - whole.room(policies)
        budget = min(whole.budget, used + self._conversation_tokens)
        return PromptEncoder(whole.variant, whole.frame, whole.tokenizer, budget)


def _tokens(encoder: PromptEncoder, policies: PolicySet, trie: AnswerTrie, example: Example) -> _Tokens:
    prompt = encoder.encode(policies, example.messages).token_ids
    sequence = trie.sequences[trie.answers.index(example.expected)]
    choices = []
    node = trie.root
    for depth, token in enumerate(sequence):
        allowed = trie.allowed(node)
        if len(allowed) > 1:
            choices.append(Choice(len(prompt) + depth - 1, allowed, allowed.index(token)))
        node = trie.advance(node, token)
    # Nothing is asked of the model after the last choice, so what follows is not read.
    last = choices[-1].index + 1 - len(prompt)
    return _Tokens((*prompt, *sequence[:last]), len(prompt), tuple(choices))


class _Tree:
    """A block while conversations join it."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._following: dict[tuple[int, int], int] = {}
        self._choices: list[Choice] = []
        self._examples = 0

    def in_common(self, tokens: Sequence[int]) -> int:
        """Return how many of these tokens are there already, from the first on."""
        node, count = -1, 0
        for token in tokens:
            if (node := self._following.get((node, token), -1)) < 0:
                break
            count += 1
        return count

    def add(self, tokens: Sequence[int], choices: Sequence[Choice]) -> None:
        """Add a conversation; the choices' indices count from its first token."""
        path, node = [], -1
        for token in tokens:
            key = (node, token)
            if key not in self._following:
                self._following[key] = len(self._tokens)
                self._tokens.append(token)
                self._parents.append(node)
            node = self._following[key]
            path.append(node)
        self._choices += [
            Choice(path[choice.index], choice.candidates, choice.right, self._examples) for choice in choices
        ]
        self._examples += 1

    def block(self) -> Block:
        """Return what was added."""
        return Block(tuple(self._tokens), tuple(self._parents), tuple(self._choices), self._examples)


def _join(members: Sequence[_Tokens]) -> Row:
    # The last token of a prompt may hold a choice, and every choice belongs to a block.
    limit = min(member.prompt_length for member in members) - 1
    first = members[0].token_ids
    shared = 0
    while shared < limit and all(member.token_ids[shared] == first[shared] for member in members):
        shared += 1
    trees: list[_Tree] = []
    for member in members:
        own = member.token_ids[shared:]
        in_common = [tree.in_common(own) for tree in trees]
        most = max(in_common, default=0)
        if most < _FEWEST_IN_COMMON:
            trees.append(tree := _Tree())
        else:
            tree = trees[in_common.index(most)]
        tree.add(
            own, [Choice(choice.index - shared, choice.candidates, choice.right) for choice in member.choices]
        )
    return Row(first[:shared], tuple(tree.block() for tree in trees))
