"""What is remembered of sessions."""

from collections import OrderedDict
from dataclasses import dataclass, field

from archroute.selection.stickiness import Holding

__all__ = ["Session", "Sessions"]


@dataclass(frozen=True, slots=True)
class Session:
    """What one session holds."""

    holding: Holding = field(default_factory=Holding)

    models: tuple[str, ...] = ()
    """The models that the router named with the policy that is held."""

    model: str = ""
    """The model that was chosen last."""


class Sessions:
    """The sessions used most recently, by key. Not thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def get(self, key: str) -> Session:
        """The session of that key, or a new one."""
        return self._sessions.get(key) or Session()

    def put(self, key: str, session: Session) -> None:
        """Remembers a session, and forgets the one that was not used for longest if there are too many."""
        self._sessions[key] = session
        self._sessions.move_to_end(key)
        while len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def __len__(self) -> int:
        return len(self._sessions)
