"""Whose API serves a model, and how it is reached."""

import re
from dataclasses import dataclass

__all__ = ["Provider", "is_web_address"]


@dataclass(frozen=True, slots=True)
class Provider:
    """One API that is compatible with OpenAI's, as `archroute.openai` calls it. Holds no secret."""

    name: str
    """As models name it."""

    base_url: str
    """Where the API is, up to and without `/chat/completions`, such as `https://api.openai.com/v1`."""

    api_key_variable: str = ""
    """The environment variable that holds the key; empty if the API wants none."""


def is_web_address(text: str) -> bool:
    """Whether it is an http or https address with a host."""
    return re.match(r"https?://[^/\s]", text) is not None
