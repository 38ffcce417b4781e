"""What a conversation needs of a model, read off the conversation or said by the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archroute.message import TEXT_PARTS, Message
from archroute.selection.model import Model

__all__ = ["IMAGE_TOKENS", "MESSAGE_TOKENS", "TOKEN_BYTES", "Needs", "estimated_tokens", "needs_of"]

TOKEN_BYTES = 3
"""Bytes of UTF-8 that are taken for one token. English has about four to a token, and Chinese or Japanese
three to a character, which is about one token: the estimate is rather too high than too low."""

MESSAGE_TOKENS = 4
"""Tokens that a chat format puts around each message."""

IMAGE_TOKENS = 1_600
"""Tokens of one image: what the larger providers charge at most for one of ordinary size."""

# Of the chat completions API, of the responses API, and of Anthropic's messages API.
_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model must be able to do, so as to be chosen at all."""

    vision: bool = False
    """Reading images."""

    tools: bool = False
    """Calling tools."""

    json_mode: bool = False
    """Answering in JSON, or by a schema."""

    input_tokens: int = 0
    """Tokens that the conversation takes. If there are more by the estimate, the estimate counts."""

    output_tokens: int = 0
    """Tokens that the reply may take."""

    def joined(self, other: "Needs") -> "Needs":
        """The needs of both."""
        return Needs(
            vision=self.vision or other.vision,
            tools=self.tools or other.tools,
            json_mode=self.json_mode or other.json_mode,
            input_tokens=max(self.input_tokens, other.input_tokens),
            output_tokens=max(self.output_tokens, other.output_tokens),
        )

    def are_met_by(self, model: Model) -> bool:
        """Whether the model can do all of it."""
        window = model.context_window
        return (
            (model.vision or not self.vision)
            and (model.tools or not self.tools)
            and (model.json_mode or not self.json_mode)
            and (window is None or self.input_tokens + self.output_tokens <= window)
        )


def needs_of(messages: Sequence[Message]) -> Needs:
    """What a conversation shows by itself: its images, its tool results, and its estimated length.

    `content` of each message is text, a sequence of parts, or None.
    """
    return Needs(
        vision=any(_images(message) for message in messages),
        tools=any(message.role in ("tool", "function") for message in messages),
        input_tokens=estimated_tokens(messages),
    )


def estimated_tokens(messages: Sequence[Message]) -> int:
    """An estimate, without any model's tokenizer, that is rather too high than too low.

    One token for `TOKEN_BYTES` bytes of text, rounded up for each message, `MESSAGE_TOKENS` for each message
    and `IMAGE_TOKENS` for each image.
    """
    return sum(
        -(-_text_bytes(message) // TOKEN_BYTES) + MESSAGE_TOKENS + IMAGE_TOKENS * _images(message)
        for message in messages
    )


def _parts(message: Message) -> Sequence[Mapping[str, object]]:
    content = message.content
    return () if content is None or isinstance(content, str) else tuple(content)


def _images(message: Message) -> int:
    return sum(part.get("type") in _IMAGE_PARTS for part in _parts(message))


def _text_bytes(message: Message) -> int:
    if isinstance(message.content, str):
        return _bytes(message.content)
    texts = (part.get("text") for part in _parts(message) if part.get("type") in TEXT_PARTS)
    return sum(_bytes(text) for text in texts if isinstance(text, str))


def _bytes(text: str) -> int:
    # What is no valid Unicode is refused later, with its place.
    return len(text.encode(errors="surrogatepass"))
