"""Checks of what came back: the official package parses an answer, and does not look whether it is one."""

from typing import Any

import openai
from openai.types.chat import ChatCompletion

__all__ = ["checked_completion", "unreadable"]


def checked_completion(value: object, response: Any) -> ChatCompletion:
    """Returns `value`, which was parsed from the HTTP response, if it is what was asked for.

    Raises:
        openai.APIResponseValidationError: It is text, another object, or has no choices.
    """
    if not isinstance(value, ChatCompletion) or not getattr(value, "choices", None):
        raise unreadable(response)
    return value


def unreadable(response: Any) -> openai.APIResponseValidationError:
    """The error for an answer that is no chat completion. Does not hold the answer, which may be anything."""
    return openai.APIResponseValidationError(response, None, message="the answer is not a chat completion")
