"""PolicyLabels: names of policies as label values, of which there must not be any number."""

from archroute_server.router.decision import Outcome
from archroute_server.router.policy import OTHER
from archroute_server.telemetry.finished_request import DecidedRequest

INLINE = "(inline)"
"""Stands for policies that came with the request: callers could name any number of them."""
NONE = "(none)"
"""Stands for the policy where none was certain enough, or none was decided for."""
MORE = "(more)"
"""Stands for what comes after the bound."""

# Policy sets come and go, but a time series stays for as long as the server runs.
MAX_PAIRS = 2000

Pair = tuple[str, str]


class PolicyLabels:
    """Gives each decision its policy set and policy as labels, at most `bound` pairs of names in all."""

    def __init__(self, bound: int = MAX_PAIRS) -> None:
        self._bound = bound
        self._known: set[Pair] = set()

    def of(self, decided: DecidedRequest) -> Pair:
        """Return the label values of a decision."""
        if not decided.policy_set:
            return INLINE, INLINE
        if decided.policy is not None:
            policy = decided.policy
        else:
            policy = OTHER if decided.outcome == Outcome.OTHER.name else NONE
        pair = decided.policy_set, policy
        if pair not in self._known:
            if len(self._known) >= self._bound:
                return MORE, MORE
            self._known.add(pair)
        return pair
