"""The chat frame: what stands around the prompt when the model reads it.

The exporter renders the checkpoint's own chat template and stores the result in the bundle's manifest as a
list of segments:

    [{"token": 151644, "text": "<|im_start|>"}, {"text": "user\\n"}, {"prompt": true},
     {"token": 151645, "text": "<|im_end|>"}, {"text": "\\n"},
     {"token": 151644, "text": "<|im_start|>"}, {"text": "assistant\\n"}]

Special tokens are written as ids and never come out of text, so no message can leave the frame.
A template that trims messages, as Llama 3's do, gives `{"prompt": true, "stripped": true}`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from archroute_server.router.tokenizer import Tokenizer


class ChatFrameError(ValueError):
    """A chat frame that is malformed, or that does not go with the tokenizer."""


@dataclass(frozen=True)
class SpecialToken:
    """A token written by its id; `text` is its spelling, for people and for checking the tokenizer."""

    id: int
    text: str


@dataclass(frozen=True)
class Text:
    """Text of the template itself, such as `user\\n`."""

    text: str


@dataclass(frozen=True)
class PromptHere:
    """Where the prompt goes; `stripped` if the template takes off the whitespace around it."""

    stripped: bool = False


Segment = SpecialToken | Text | PromptHere


@dataclass(frozen=True)
class ChatFrame:
    """Segments in order, exactly one of them the prompt. Raises `ChatFrameError` otherwise."""

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        prompts = sum(isinstance(segment, PromptHere) for segment in self.segments)
        if prompts != 1:
            raise ChatFrameError(f"a chat frame has exactly one prompt segment, not {prompts}")
        for index, segment in enumerate(self.segments):
            if isinstance(segment, SpecialToken) and segment.id < 0:
                raise ChatFrameError(f"segment {index}: a token id is never negative, but it is {segment.id}")
            if isinstance(segment, SpecialToken | Text) and not segment.text:
                raise ChatFrameError(f"segment {index}: its text is empty")

    @classmethod
    def from_json(cls, value: object) -> "ChatFrame":
        """Read what `to_json` wrote. Raises `ChatFrameError` naming the wrong segment."""
        if not isinstance(value, list):
            raise ChatFrameError(f"a chat frame is a list of segments, not {type(value).__name__}")
        return cls(tuple(_segment_from_json(index, item) for index, item in enumerate(value)))

    def to_json(self) -> list[dict[str, object]]:
        """Write the segments as values that `json` can write."""
        return [_segment_to_json(segment) for segment in self.segments]

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise `ChatFrameError` unless the special tokens are the tokenizer's own and no text gives one."""
        for segment in self.segments:
            if not isinstance(segment, SpecialToken):
                continue
            known = tokenizer.token_id(segment.text)
            if known != segment.id:
                raise ChatFrameError(
                    f"the chat frame says that {segment.text!r} is token {segment.id}, "
                    f"but the tokenizer says {known}: frame and tokenizer are not of the same checkpoint"
                )
            if segment.id in tokenizer.encode(segment.text):
                raise ChatFrameError(
                    f"the tokenizer reads {segment.text!r} in a message as token {segment.id}, so a message "
                    f'could leave the chat frame: mark the token as "special" in tokenizer.json'
                )

    def encode(self, prompt: str, tokenizer: Tokenizer) -> list[int]:
        """Return the token ids of the whole frame with `prompt` in its place.

        Text next to the prompt is tokenized together with it, because splitting a text changes the tokens at
        the seam.
        """
        ids: list[int] = []
        for run in self._runs(prompt):
            if isinstance(run, SpecialToken):
                ids.append(run.id)
            else:
                ids.extend(tokenizer.encode(run))
        return ids

    def _runs(self, prompt: str) -> Iterator[SpecialToken | str]:
        """Join what stands between two special tokens into one text."""
        pending: list[str] = []
        for segment in self.segments:
            match segment:
                case SpecialToken():
                    if pending:
                        yield "".join(pending)
                        pending.clear()
                    yield segment
                case Text(text):
                    pending.append(text)
                case PromptHere(stripped):
                    pending.append(prompt.strip() if stripped else prompt)
        if pending:
            yield "".join(pending)


def _segment_to_json(segment: Segment) -> dict[str, object]:
    match segment:
        case SpecialToken(id, text):
            return {"token": id, "text": text}
        case Text(text):
            return {"text": text}
        case PromptHere(stripped):
            return {"prompt": True, "stripped": True} if stripped else {"prompt": True}


def _segment_from_json(index: int, item: object) -> Segment:
    match item:
        case {"token": bool()}:
            pass  # JSON's true is an int to Python
        case {"token": int(id), "text": str(text), **rest} if not rest:
            return SpecialToken(id, text)
        case {"text": str(text), **rest} if not rest:
            return Text(text)
        case {"prompt": True, **rest} if rest in ({}, {"stripped": True}):
            return PromptHere(stripped=bool(rest))
    raise ChatFrameError(
        f'segment {index} is none of {{"token": id, "text": "..."}}, {{"text": "..."}}, {{"prompt": true}}'
    )
