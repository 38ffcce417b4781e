"""Callers' names as label values, of which there must not be any number."""

from archroute_server.telemetry.caller_name import CallerName

ANONYMOUS = "(anonymous)"
"""Stands for callers without a token, of whom there is any number, and for those who were not let in."""
MORE = "(more)"
"""Stands for what comes after the bound."""

# Tokens come and go, but a time series stays for as long as the server runs.
MAX_CALLERS = 200


class CallerLabels:
    """Gives each caller a label value, at most `bound` different names in all."""

    def __init__(self, bound: int = MAX_CALLERS) -> None:
        self._bound = bound
        self._known: set[str] = set()

    def of(self, caller: CallerName | None) -> str:
        """Return the label value of a caller."""
        if caller is None or not caller.known:
            return ANONYMOUS
        if caller.text not in self._known:
            if len(self._known) >= self._bound:
                return MORE
            self._known.add(caller.text)
        return caller.text
