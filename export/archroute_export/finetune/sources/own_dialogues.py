"""Dialogues that a team labels itself: each turn of the user with the policy that it calls for.

    dialogues:
      - - order_pickup: Can you fetch two suits tomorrow?          the key is the policy's name
        - assistant: Gladly. Between 8 and 10?
        - order_pickup: yes
        - assistant: Done. Anything else?
        - none: no, thanks                                         the user asks for nothing
      - language: de                                               ISO 639-1; en where it is not said
        turns: [order_pickup: ..., assistant: ..., price_list: ...]

User and assistant take turns, and the user begins. Each turn of the user that calls for a policy becomes a
request, with all that was said before.
"""

from collections.abc import Iterator, Mapping

from archroute_export.finetune.sources.labelled import LabelledRequest
from archroute_export.finetune.sources.yaml_file import Node
from archroute_server.router.message import Message, Role

_NO_POLICY = "none"


def dialogue_requests(node: Node, ids: Mapping[str, str], group: str) -> Iterator[LabelledRequest]:
    """Yield the requests of one dialogue, all of this group; `ids` has the policies' ids by their names.

    Raises `SourceError` if a turn has not one key, if it is an unknown policy, or if the roles do not take
    turns.
    """
    language, turns = "en", node
    if node.is_mapping():
        fields = node.mapping(("turns",), ("language",))
        language, turns = fields["language"].text() if "language" in fields else "en", fields["turns"]
    messages: list[Message] = []
    earlier: list[str] = []
    known = (Role.ASSISTANT.value, _NO_POLICY, *ids)
    for number, turn in enumerate(turns.items()):
        key, text = turn.entry(known, "must have one key: `assistant`, `none` or the name of a policy")
        role = Role.ASSISTANT if key == Role.ASSISTANT.value else Role.USER
        if role is not (Role.ASSISTANT if number % 2 else Role.USER):
            raise turn.error(f"is the {role.value}'s; user and assistant must take turns, the user first")
        messages.append(Message(role, text.text()))
        if key in ids:
            yield LabelledRequest(
                tuple(messages), ids[key], earlier=frozenset(earlier), language=language, group=group
            )
            earlier.append(ids[key])
