"""From policies and a conversation to the token ids that the model reads."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from threading import Lock

from archroute_server.router.conversation import CHARACTERS_PER_TOKEN, ConversationFitter
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.router.frame import ChatFrame
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import PolicySet
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer

# What policies must leave for the conversation: enough to say in a sentence or two what is wanted.
MIN_ROOM = 64

_REMEMBERED_POLICY_SETS = 256


@dataclass(frozen=True)
class EncodedPrompt:
    """A whole prompt, chat frame included, and what was cut from the conversation to make it fit.

    The first `reusable` tokens are policies and conversation: a later turn's prompt begins with most of
    them. What follows, the instructions and the end of the frame, is the same in every prompt.
    `dropped_messages` counts user and assistant messages, `dropped_tokens` the tokens of their text, together
    with what was cut out of a message that was too long by itself. Both are as in `conversation.py`.
    """

    token_ids: list[int]
    reusable: int
    dropped_messages: int
    dropped_tokens: int


class PromptEncoder:
    """Renders and tokenizes prompts of at most `budget` tokens. May be shared between threads.

    Raises `ChatFrameError` if the frame does not go with the tokenizer.
    """

    def __init__(self, variant: PromptVariant, frame: ChatFrame, tokenizer: Tokenizer, budget: int) -> None:
        frame.check(tokenizer)
        self.variant = variant
        self.frame = frame
        self.tokenizer = tokenizer
        self.budget = budget
        # Measuring takes as long as tokenizing a prompt, so the rooms of recent policy sets are kept.
        self._rooms: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()
        self._tail_tokens = self._count_tail()

    def encode(self, policies: PolicySet, messages: Sequence[Message]) -> EncodedPrompt:
        """Return a prompt within the budget, cutting the conversation as far as needed.

        Raises `InvalidRequest` if the policies leave no room for a conversation, or if there is no user
        message with text.
        """
        fitter = ConversationFitter(
            encode=lambda kept: self._encode(policies, kept),
            write=self.variant.style.conversation,
            tokenizer=self.tokenizer,
            budget=self.budget,
            room=self.room(policies),
        )
        fitted = fitter.fit(messages)
        reusable = len(fitted.token_ids) - self._tail_tokens
        return EncodedPrompt(fitted.token_ids, reusable, fitted.dropped_messages, fitted.dropped_tokens)

    def room(self, policies: PolicySet) -> int:
        """Return how many tokens the policies leave for the conversation.

        Raises `InvalidRequest` if they are fewer than `MIN_ROOM`, whatever the conversation, so that a policy
        set either always works or never.
        """
        with self._lock:
            if policies.revision in self._rooms:
                self._rooms.move_to_end(policies.revision)
                return self._rooms[policies.revision]
        room = self._measure_room(policies)
        with self._lock:
            self._rooms[policies.revision] = room
            if len(self._rooms) > _REMEMBERED_POLICY_SETS:
                self._rooms.popitem(last=False)
        return room

    def prefix(self, policies: PolicySet) -> tuple[int, ...]:
        """Return the tokens that the prompts of a policy set begin with, up to a user's first message.

        Raises what `room` raises.
        """
        self.room(policies)
        one, other = (self._encode(policies, [Message(Role.USER, text)]) for text in ("a", "1"))
        alike = (left == right for left, right in zip(one, other, strict=False))
        return tuple(one[: sum(takewhile(bool, alike))])

    def _measure_room(self, policies: PolicySet) -> int:
        limit = self.budget - MIN_ROOM
        remedy = "Use fewer policies or shorter descriptions"
        characters = len(self.variant.render(policies.policies, ()))
        if characters > CHARACTERS_PER_TOKEN * self.budget:
            raise InvalidRequest(
                Violation(
                    "policies",
                    f"take {characters} characters, which are far more than the {limit} tokens that a prompt "
                    f"has for them. {remedy}",
                )
            )
        used = len(self._encode(policies, ()))
        if used > limit:
            raise InvalidRequest(
                Violation(
                    "policies",
                    f"take {used} tokens of the prompt, {used - limit} more than the {limit} that it has for "
                    f"them and its instructions. {remedy}",
                )
            )
        return self.budget - used

    def _count_tail(self) -> int:
        """Return with how many tokens two prompts end alike whose conversations do not."""
        one, other = (
            self.frame.encode(self.variant.render((), [Message(Role.USER, text)]), self.tokenizer)
            for text in ("a", "1")
        )
        alike = (left == right for left, right in zip(reversed(one), reversed(other), strict=False))
        return sum(takewhile(bool, alike))

    def _encode(self, policies: PolicySet, messages: Sequence[Message]) -> list[int]:
        return self.frame.encode(self.variant.render(policies.policies, messages), self.tokenizer)
