"""Calls OpenAI-compatible endpoints, with the model filled in. Needs the extra `openai`.

    selector = archroute.Selector(archroute.ModelMap.load("models.yaml"))
    with archroute.Router("localhost:50051", selector=selector) as router, RoutedOpenAI(router) as client:
        completion = client.chat.completions.create(messages=[{"role": "user", "content": "Hello"}])

The call is that of the official package `openai`, without `model`, and so is what comes back. If a model is
at its limit, fails or does not answer in time, the next one of the selection is asked.

    routed_client, async_routed_client ──> failover ──> resting
                                      └──> connections (one official client for each provider)
"""

try:
    import openai as _openai  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "archroute.openai needs the 'openai' extra: pip install 'archroute[openai]' "
        f"(there is no module {error.name!r})",
        name=error.name,
    ) from error

from archroute.openai.arguments import RoutingOptions
from archroute.openai.async_routed_client import AsyncRoutedOpenAI
from archroute.openai.async_routed_stream import AsyncRoutedStream
from archroute.openai.routed import Attempt, Routed
from archroute.openai.routed_client import RoutedOpenAI
from archroute.openai.routed_stream import RoutedStream

__all__ = [
    "AsyncRoutedOpenAI",
    "AsyncRoutedStream",
    "Attempt",
    "Routed",
    "RoutedOpenAI",
    "RoutedStream",
    "RoutingOptions",
]
