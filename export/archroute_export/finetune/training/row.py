"""Training rows: one policy set and several conversations about it, read in one go.

The prompt puts the policies first, so prompts of one policy set share their beginning. A row holds it once;
each conversation follows as a block that sees the shared tokens and itself, at the positions that it would
have alone. It is the layout in which the server answers several requests at once, and computes the same as
one row for each conversation, at a fraction of the cost:

    shared                   block 1                     block 2
    - a: ...  - b: ...       user: ... {"route": "       user: ... {"route": "
    0 .................. 99  100 ............... 140     100 ............ 131        positions

A block ends before the last choice of its answer. At every place where the answers of the policy set part,
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


@dataclass(frozen=True, slots=True)
class Choice:
    """A branch on the way to the right answer: which of `candidates` follows token `index` of the block."""

    index: int
    candidates: tuple[int, ...]
    right: int
    """The place of the right token among the candidates."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one conversation adds to the shared tokens, and the choices that it is to get right."""

    tokens: tuple[int, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids that all blocks begin with, and the blocks."""

    shared: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def length(self) -> int:
        """How many tokens are computed."""
        return len(self.shared) + sum(len(block.tokens) for block in self.blocks)


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


def _join(members: Sequence[_Tokens]) -> Row:
    # The last token of a prompt may hold a choice, and every choice belongs to a block.
    limit = min(member.prompt_length for member in members) - 1
    first = members[0].token_ids
    shared = 0
    while shared < limit and all(member.token_ids[shared] == first[shared] for member in members):
        shared += 1
    return Row(
        first[:shared],
        tuple(
            Block(
                member.token_ids[shared:],
                tuple(
                    Choice(choice.index - shared, choice.candidates, choice.right)
                    for choice in member.choices
                ),
            )
            for member in members
        ),
    )
