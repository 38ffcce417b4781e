"""A condition that waits on a fake clock, so that a test says what happens meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from support.fake_clock import FakeClock


@dataclass
class Happening:
    """Something that happens `after` so many seconds of waiting, and wakes whoever waits."""

    after: float
    act: Callable[[], object]


@dataclass
class ScriptedCondition(threading.Condition):
    """Moves the clock to the next happening, or by the whole timeout if that comes first.

    `timeouts` are those of the waits, which must have one.
    """

    clock: FakeClock
    script: list[Happening] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Condition.__init__(self)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.timeouts.append(timeout)
        if self.script and self.script[0].after <= timeout:
            happening = self.script.pop(0)
            self.clock.now += happening.after
            happening.act()
            return True
        self.clock.now += timeout
        return False
