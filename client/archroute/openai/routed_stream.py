"""The chunks of an answer, as they come."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import openai
from openai.types.chat import ChatCompletionChunk

__all__ = ["RoutedStream"]


class RoutedStream(Iterator[ChatCompletionChunk]):
    """Chunks, the first of which has come already. Its asyncio twin is `AsyncRoutedStream`.

    Like `openai.Stream` it may be iterated once, is closed by that or by `close`, and may be used in a `with`
    statement. What goes wrong after the first chunk is raised: half of an answer cannot be gone on with by
    another model.
    """

    def __init__(self, stream: "openai.Stream[ChatCompletionChunk]", first: ChatCompletionChunk) -> None:
        self._stream = stream
        self._first = [first]

    @classmethod
    def opened(cls, stream: "openai.Stream[ChatCompletionChunk]") -> "RoutedStream":
        """Waits for the first chunk.

        Raises:
            openai.APIError: It did not come, or cannot be read.
        """
        try:
            return cls(stream, next(stream))
        except StopIteration:
            raise openai.APIResponseValidationError(
                stream.response, None, message="the stream ended before its first chunk"
            ) from None
        except ValueError:  # it is no JSON; without the cause, which holds the text
            raise openai.APIResponseValidationError(
                stream.response, None, message="the first chunk of the stream cannot be read"
            ) from None

    @property
    def response(self) -> Any:
        """The HTTP response, as `openai.Stream.response`."""
        return self._stream.response

    def __next__(self) -> ChatCompletionChunk:
        return self._first.pop() if self._first else next(self._stream)

    def close(self) -> None:
        """Closes the response, and lets go of the connection."""
        self._first.clear()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
