"""RecentPrompts: what questions became, so that one asked again is known before it is tokenized."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from archroute_server.engine.decision_cache import DecisionKey
from archroute_server.router.message import Message
from archroute_server.router.trie import AnswerTrie


@dataclass(frozen=True, slots=True)
class RecentPrompt:
    """A prompt without its tokens: what an answer from the decision cache needs of it."""

    key: DecisionKey
    trie: AnswerTrie
    prompt_tokens: int
    dropped_tokens: int
    dropped_messages: int


class RecentPrompts:
    """Keeps the last questions, each as a SHA-256 digest. Belongs to one event loop."""

    def __init__(self, entries: int) -> None:
        """Keep up to `entries`, the least recently used going first."""
        self._prompts: LRUCache[bytes, RecentPrompt] = LRUCache(entries)

    def get(self, question: bytes) -> RecentPrompt | None:
        """Return what the question became."""
        return self._prompts.get(question)

    def remember(self, question: bytes, prompt: RecentPrompt) -> None:
        """Keep what the question became."""
        if self._prompts.maxsize:
            self._prompts[question] = prompt


def question_digest(policy_set_revision: str, messages: Sequence[Message]) -> bytes:
    """Return a digest that equal questions share: the policies, and each message with its role."""
    digest = hashlib.sha256(policy_set_revision.encode())
    for message in messages:
        text = message.text.encode("utf-8", "surrogatepass")
        # With the length first, no message can end where another begins.
        digest.update(f"\n{message.role.value} {len(text)}\n".encode())
        digest.update(text)
    return digest.digest()
