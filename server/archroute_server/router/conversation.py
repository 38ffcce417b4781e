"""Which messages the model reads, and how they are cut to fit the token budget.

Only `user` and `assistant` messages with text are read. They are ranked: the newest user message first,
because it says what is wanted now, then the others from the newest to the oldest. The first of the ranking
are kept, as many as fit. The newest user message is never dropped: if it alone is too long, its head and its
tail are kept.

    user  assistant  user  assistant  user  assistant       read by the model, oldest first
    (6)   (5)        (4)   (3)        (1)   (2)             rank
    └─ dropped ───┘  └───────── kept ──────────────┘

However long the conversation, the work is bounded by the budget: text that cannot fit is not tokenized.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.message import Message, Role
from archroute_server.router.tokenizer import Tokenizer
from archroute_server.router.unicode_text import has_lone_surrogate

MAX_MESSAGES = 16
ELLIPSIS = "…"

# A text with more characters per token of room than this is taken not to fit, unseen. Prose and code have
# three to five; only long runs of the same character come near.
CHARACTERS_PER_TOKEN = 16

# How much dropped text is tokenized to say how many tokens it had; the rest is extrapolated from that.
COUNTED_CHARACTERS = 16_384

# Attempts at cutting a text, each with one tokenization of a whole prompt, and the part of the room that may
# stay empty to save attempts.
_CUT_ATTEMPTS = 10
_CUT_SLACK = 1 / 32


@dataclass(frozen=True)
class FittedConversation:
    """The token ids of the whole prompt, and what its conversation lacks.

    `dropped_tokens` counts the text that was cut, as the user wrote it. It is an estimate if more than
    `COUNTED_CHARACTERS` characters were cut.
    """

    token_ids: list[int]
    dropped_messages: int
    dropped_tokens: int


@dataclass(frozen=True)
class ConversationFitter:
    """Fits conversations into what the policies leave of the token budget.

    `encode` returns the token ids of the whole prompt with some messages in it, `write` the text that the
    messages have there, `budget` is the largest number of tokens of a prompt, and `room` how many of them are
    left for messages. A prompt with the newest user message reduced to an ellipsis must fit.
    """

    encode: Callable[[Sequence[Message]], list[int]]
    write: Callable[[Sequence[Message]], str]
    tokenizer: Tokenizer
    budget: int
    room: int

    def fit(self, messages: Sequence[Message]) -> FittedConversation:
        """Return a prompt within the budget. Raises `InvalidRequest` as `rank` does."""
        ranked = rank(messages)
        kept = min(MAX_MESSAGES, len(ranked))
        token_ids = self._attempt(ranked[:kept])
        if token_ids is None:
            kept = max(1, min(kept - 1, self._affordable(ranked)))
            token_ids = self._attempt(ranked[:kept])
        # Tokens do not add up exactly, so what seemed affordable may still be too much.
        while token_ids is None and kept > 1:
            kept -= 1
            token_ids = self._attempt(ranked[:kept])
        dropped_texts = [message.text for _, message in ranked[kept:]]
        if token_ids is None:
            _, newest = ranked[0]
            token_ids, gap = self._cut(newest.text)
            dropped_texts.insert(0, gap)
        return FittedConversation(token_ids, len(ranked) - kept, self._count(dropped_texts))

    def _attempt(self, ranked: Sequence[tuple[int, Message]]) -> list[int] | None:
        """Return the whole prompt with these messages, oldest first, or None if it is over the budget."""
        if not self._may_fit(sum(len(message.text) for _, message in ranked)):
            return None
        token_ids = self.encode([message for _, message in sorted(ranked, key=_position)])
        return token_ids if len(token_ids) <= self.budget else None

    def _may_fit(self, characters: int) -> bool:
        return characters <= CHARACTERS_PER_TOKEN * self.room

    def _affordable(self, ranked: Sequence[tuple[int, Message]]) -> int:
        """Return how many messages fit if each costs what it has by itself."""
        left = self.room
        for kept, (_, message) in enumerate(ranked):
            if not self._may_fit(len(message.text)):
                return kept
            left -= self.tokenizer.count(self.write([message]))
            if left < 0:
                return kept
        return len(ranked)

    def _cut(self, text: str) -> tuple[list[int], str]:
        """Cut a user message until the prompt fits. Return the prompt and the text that was taken out.

        Searches for the number of the text's tokens to keep. How many tokens the prompt then has is found by
        tokenizing it: there the text is spelled with JSON escapes, so that one of its tokens may become many.
        """
        ends = TextEnds.of(text, self.tokenizer, CHARACTERS_PER_TOKEN * self.room)
        goal = self.budget - int(self.room * _CUT_SLACK / 2)
        good_enough = self.budget - int(self.room * _CUT_SLACK)
        fits, best = 0, self._encode_cut(ends, 0)
        kept = min(self.room, ends.tokens - 1)
        too_many, too_long = kept + 1, 0
        for _ in range(_CUT_ATTEMPTS):
            if not fits < kept < too_many:
                break
            token_ids = self._encode_cut(ends, kept)
            if len(token_ids) <= self.budget:
                fits, best = kept, token_ids
            else:
                too_many, too_long = kept, len(token_ids)
            if len(best) >= good_enough or too_many - fits == 1:
                break
            # Aim where a straight line between the two known points meets the goal.
            share = (goal - len(best)) / (too_long - len(best))
            kept = min(max(fits + int((too_many - fits) * share), fits + 1), too_many - 1)
        head, tail = ends.cut(fits)
        return best, text[head:tail]

    def _encode_cut(self, ends: "TextEnds", kept: int) -> list[int]:
        head, tail = ends.cut(kept)
        return self.encode([Message(Role.USER, ends.text[:head] + ELLIPSIS + ends.text[tail:])])

    def _count(self, texts: Sequence[str]) -> int:
        """Count the tokens of texts that were dropped, the first of them exactly."""
        characters = tokens = 0
        for text in texts:
            if characters == COUNTED_CHARACTERS:
                break
            counted = text[: COUNTED_CHARACTERS - characters]
            characters += len(counted)
            tokens += self.tokenizer.count(counted)
        total = sum(map(len, texts))
        return round(tokens * total / characters) if characters else 0


@dataclass(frozen=True)
class TextEnds:
    """A text with the spans of its first and of its last tokens, to be cut where tokens meet.

    A span is the first character of a token and the one after its last. For a short text, both lists hold all
    of its tokens.
    """

    text: str
    head: list[tuple[int, int]]
    tail: list[tuple[int, int]]

    @classmethod
    def of(cls, text: str, tokenizer: Tokenizer, window: int) -> "TextEnds":
        """Tokenize at most `window` characters at each end of `text`."""
        if len(text) <= 2 * window:
            spans = tokenizer.spans(text)
            return cls(text, spans, spans)
        skipped = len(text) - window
        tail = [(start + skipped, end + skipped) for start, end in tokenizer.spans(text[skipped:])]
        return cls(text, tokenizer.spans(text[:window]), tail)

    @property
    def tokens(self) -> int:
        """How many tokens there are to choose from."""
        return len(self.head) if self.head is self.tail else len(self.head) + len(self.tail)

    def cut(self, kept: int) -> tuple[int, int]:
        """Return where the text to take out begins and ends, if about `kept` tokens are to stay.

        Three fifths of them are taken from the head and two from the tail. A character of several tokens is
        kept whole.
        """
        from_head = min((kept * 3 + 4) // 5, len(self.head))
        from_tail = min(kept - from_head, len(self.tail))
        begin = self.head[from_head - 1][1] if from_head else 0
        end = self.tail[-from_tail][0] if from_tail else len(self.text)
        return begin, max(begin, end)


def rank(messages: Sequence[Message]) -> list[tuple[int, Message]]:
    """Return the messages to read, each with its position, the most important first.

    Raises `InvalidRequest` if there is no user message with text, or if a text is not valid Unicode.
    """
    if not messages:
        raise InvalidRequest(Violation("messages", "is empty; send at least one user message with text"))
    read = [
        (position, message)
        for position, message in enumerate(messages)
        if message.role in (Role.USER, Role.ASSISTANT) and message.text.strip()
    ]
    violations = [
        Violation(f"messages[{position}]", "its text is not valid Unicode: it holds half of a surrogate pair")
        for position, message in read
        if has_lone_surrogate(message.text)
    ]
    if violations:
        raise InvalidRequest(*violations)
    from_user = [entry for entry in read if entry[1].role is Role.USER]
    if not from_user:
        raise InvalidRequest(Violation("messages", _why_nothing_to_decide(messages)))
    newest = from_user[-1]
    return [newest, *(entry for entry in reversed(read) if entry is not newest)]


def _why_nothing_to_decide(messages: Sequence[Message]) -> str:
    roles = {message.role for message in messages}
    if not roles & {Role.USER, Role.ASSISTANT}:
        found = "holds only " + " and ".join(sorted(roles)) + " messages, which the router does not read"
    elif Role.USER in roles:
        found = "holds no user message with text"
    else:
        found = "holds no user message"
    return f"{found}; send at least one user message with text"


def _position(entry: tuple[int, Message]) -> int:
    return entry[0]
