"""The asyncio twin of `archroute.openai.routed_stream`."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import openai
from openai.types.chat import ChatCompletionChunk

__all__ = ["AsyncRoutedStream"]


class AsyncRoutedStream(AsyncIterator[ChatCompletionChunk]):
    """Chunks, the first of which has come already. See `RoutedStream`."""

    def __init__(self, stream: "openai.AsyncStream[ChatCompletionChunk]", first: ChatCompletionChunk) -> None:
        self._stream = stream
        self._first = [first]

    @classmethod
    async def opened(cls, stream: "openai.AsyncStream[ChatCompletionChunk]") -> "AsyncRoutedStream":
        """Waits for the first chunk.

        Raises:
            openai.APIError: It did not come, or cannot be read.
        """
        try:
            return cls(stream, await anext(stream))
        except StopAsyncIteration:
            raise openai.APIResponseValidationError(
                stream.response, None, message="the stream ended before its first chunk"
            ) from None
        except ValueError:  # it is no JSON; without the cause, which holds the text
            raise openai.APIResponseValidationError(
                stream.response, None, message="the first chunk of the stream cannot be read"
            ) from None

    @property
    def response(self) -> Any:
        """The HTTP response, as `openai.AsyncStream.response`."""
        return self._stream.response

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        return self._first.pop() if self._first else await anext(self._stream)

    async def close(self) -> None:
        """Closes the response, and lets go of the connection."""
        self._first.clear()
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
