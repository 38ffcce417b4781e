"""What a client was told, checked."""

from dataclasses import dataclass
from typing import TypedDict

from archroute.fields import invalid
from archroute.openai.routed import Attempt
from archroute.selection.selector import Selector

__all__ = ["Report", "Settings"]


class Report(TypedDict, total=False):
    """What `Router.report` is told of an attempt."""

    reward: float
    latency: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that both clients have in common; `RoutedOpenAI` documents them."""

    selector: Selector
    timeout: float
    patience: float
    report_latency: bool
    failure_reward: float | None

    @classmethod
    def checked(
        cls,
        selector: Selector | None,
        timeout: float,
        patience: float,
        report_latency: bool,
        failure_reward: float | None,
    ) -> "Settings":
        """Checks them.

        Raises:
            InvalidRequestError: There is no selector, or a number is out of its range.
        """
        if selector is None:
            raise invalid("router", "needs a selector: Router(..., selector=archroute.Selector(...))")
        if not timeout > 0:
            raise invalid("timeout", f"must be above 0 seconds, not {timeout}")
        if not 0 <= patience < float("inf"):
            raise invalid("patience", f"must be 0 seconds or more, not {patience}")
        if failure_reward is not None and not 0 <= failure_reward <= 1:
            raise invalid("failure_reward", f"must be from 0 to 1, not {failure_reward}")
        return cls(selector, timeout, patience, report_latency, failure_reward)

    def report_of(self, attempt: Attempt) -> Report:
        """What to report of an attempt; empty for nothing."""
        if attempt.error is None:
            return Report(latency=attempt.seconds) if self.report_latency else Report()
        return Report() if self.failure_reward is None else Report(reward=self.failure_reward)
