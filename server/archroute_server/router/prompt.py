"""The prompt variants: what exactly the model reads between the ends of its chat frame."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

import yaml

from archroute_server.router.json_style import JsonStyle
from archroute_server.router.line_style import LineStyle
from archroute_server.router.message import Message
from archroute_server.router.policy import Policy

_FILES = resources.files("archroute_server.router") / "prompts"
_SETTINGS = yaml.safe_load((_FILES / "variants.yaml").read_text(encoding="utf-8"))

VARIANTS: tuple[str, ...] = tuple(_SETTINGS)
"""The names of the variants, as a bundle's manifest gives them."""

DEFAULT_VARIANT = VARIANTS[0]


class PromptStyle(Protocol):
    """How values are written between the pieces of a template."""

    def routes(self, policies: Iterable[Policy]) -> str:
        """Write the policies, in declaration order."""

    def conversation(self, messages: Iterable[Message]) -> str:
        """Write the messages, oldest first."""

    def answer(self, name: str) -> str:
        """Write the model's answer: a policy's name, or `other`."""


class UnknownPromptVariant(ValueError):
    """A prompt variant that this version does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no prompt variant {name!r}; the variants are {', '.join(VARIANTS)}")


@dataclass(frozen=True)
class PromptVariant:
    """A template in three pieces, and the style in which the values between them are written."""

    name: str
    before_routes: str
    before_conversation: str
    after_conversation: str
    style: PromptStyle

    @classmethod
    def load(cls, name: str) -> "PromptVariant":
        """Read a variant's data files. Raises `UnknownPromptVariant`."""
        if name not in _SETTINGS:
            raise UnknownPromptVariant(name)
        settings = _SETTINGS[name]
        # Bytes, because reading as text would translate line endings.
        template = (_FILES / settings["template"]).read_bytes().decode("utf-8")
        before_routes, rest = template.split("{routes}")
        before_conversation, after_conversation = rest.split("{conversation}")
        return cls(name, before_routes, before_conversation, after_conversation, _style(settings))

    def render(self, policies: Iterable[Policy], messages: Iterable[Message]) -> str:
        """Fill in policies and messages by position, so that no text among them can move the frame."""
        return "".join(
            (
                self.before_routes,
                self.style.routes(policies),
                self.before_conversation,
                self.style.conversation(messages),
                self.after_conversation,
            )
        )


def _style(settings: dict[str, Any]) -> PromptStyle:
    if "json" in settings:
        return JsonStyle(**settings["json"])
    return LineStyle(**settings["lines"])
