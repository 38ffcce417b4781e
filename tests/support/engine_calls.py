"""What tests of the engine ask it, and how they know that it waits."""

import threading

from archroute_server.engine.engine import Engine
from archroute_server.engine.identity import Identity
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.prompt import DEFAULT_VARIANT

IDENTITY = Identity("sha256:0", DEFAULT_VARIANT, "cpu")
POLICIES = PolicySet(
    "gateway",
    (
        Policy("code_generation", "Writing new code", ("large", "small")),
        Policy("code_review", "Judging code that exists"),
        Policy("translation", "From one language to another"),
    ),
)


def user(text: str) -> list[Message]:
    return [Message(Role.USER, text)]


def wait_for_queue(engine: Engine, size: int) -> None:
    """Wait until so many requests stand behind the one that runs."""
    pause = threading.Event()
    while engine.batch_statistics.waiting < size:
        pause.wait(0.001)
