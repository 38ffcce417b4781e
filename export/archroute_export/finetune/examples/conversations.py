"""Varying a conversation while its last message, and so what it calls for, stays the same."""

import random
from collections.abc import Sequence

from archroute_server.router.message import Message, Role

Messages = tuple[Message, ...]

_SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are a helpful, harmless and honest assistant. Answer in the language of the user.",
    "Answer briefly. If you are not sure, say so.",
    "You are the assistant of a large company. Be polite and precise.",
    "Today is Tuesday. The user's time zone is UTC+1.",
    "Use Markdown where it helps.",
)
# What an assistant could have said to nearly anything.
_REPLIES = (
    "Sure, here you go. Let me know if you would like me to change anything.",
    "Done. Is there anything else I can help you with?",
    "Happy to help! I have put together what you asked for above.",
    "Of course. Here is a first version; tell me what should be different.",
    "Here is what I found. Do you need more detail on any of it?",
    "Good question. In short: yes, with a few exceptions that depend on your situation.",
    "I've taken care of that for you.",
    "Could you tell me a little more, so that I can give you a better answer?",
    "All right, that's it. What's next?",
    "Here's a short answer; I can go deeper if you like.",
    "No problem.",
    "I'm afraid I can't do that right now, but I can suggest some alternatives.",
)


def with_earlier_requests(rng: random.Random, earlier: Sequence[Messages], messages: Messages) -> Messages:
    """Switch the topic: the earlier requests come first, each answered by the assistant."""
    answered = [
        message
        for request in earlier
        for message in (*request, Message(Role.ASSISTANT, rng.choice(_REPLIES)))
    ]
    return (*answered, *messages)


def with_system_message(rng: random.Random, messages: Messages) -> Messages:
    """Put a system message first, unless there is one. The router does not read it."""
    if messages[0].role is Role.SYSTEM:
        return messages
    return (Message(Role.SYSTEM, rng.choice(_SYSTEM_MESSAGES)), *messages)
