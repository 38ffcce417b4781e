"""What of a call is archroute's, and what the call shows of its needs."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from archroute.fields import invalid, kind_of
from archroute.policy import Policy
from archroute.selection.needs import Needs

__all__ = ["RoutingOptions", "check_arguments", "readable_messages", "select_options"]

_JSON_FORMATS = ("json_object", "json_schema")


class RoutingOptions(TypedDict, total=False):
    """What `Router.select` takes besides the messages; it documents each. All may be left out."""

    needs: Needs
    key: str
    policy_set: str
    policies: Iterable[Policy | Mapping[str, object]]
    min_probability: float
    timeout: float


def check_arguments(messages: object, arguments: Mapping[str, Any]) -> None:
    """Refuses what would contradict the routing.

    Raises:
        InvalidRequestError: There is a model among the arguments, or the messages are no list of messages.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise invalid("messages", f"must be a list of messages, not {kind_of(messages)}")
    if "model" in arguments:
        raise invalid("model", "is chosen by the router; leave it out")


def select_options(
    arguments: Mapping[str, Any], defaults: RoutingOptions, routing: RoutingOptions | None
) -> dict[str, Any]:
    """The keyword arguments of `select`: the call's own before those of the client.

    Raises:
        InvalidRequestError: An option is unknown.
    """
    options: dict[str, Any] = {**defaults, **(routing or {})}
    for name in options:
        if name not in RoutingOptions.__annotations__:
            known = ", ".join(RoutingOptions.__annotations__)
            raise invalid("routing", f"unknown option {name!r}; it may have {known}")
    needs = options.get("needs") or Needs()
    # If it is something else, `select` says so, in its own way.
    if isinstance(needs, Needs):
        options["needs"] = needs.joined(_needs_of_call(arguments))
    return options


def readable_messages(messages: Iterable[Any]) -> list[Any]:
    """The messages as `select` reads them. An answer of the official package may be among them as it came."""
    return [
        {"role": each.role, "content": each.content}
        if hasattr(each, "role") and hasattr(each, "content")
        else each
        for each in messages
    ]


def _needs_of_call(arguments: Mapping[str, Any]) -> Needs:
    """What the arguments show. The package's marks for arguments that are not given count as nothing."""
    answer_format = arguments.get("response_format")
    kind = answer_format.get("type") if isinstance(answer_format, Mapping) else None
    limits = (arguments.get("max_completion_tokens"), arguments.get("max_tokens"))
    return Needs(
        tools=bool(arguments.get("tools") or arguments.get("functions")),
        json_mode=kind in _JSON_FORMATS,
        output_tokens=max((limit for limit in limits if isinstance(limit, int)), default=0),
    )
