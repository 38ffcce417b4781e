"""Who may change the server."""

from archroute_server.rpc.errors import AdminDisabled


class AdminGate:
    """Lets everybody change the server, or nobody: `--allow-admin`.

    The only place that decides it. Asked by the methods of `PolicySetService` that change something.
    """

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed

    def check(self) -> None:
        """Raise `AdminDisabled` if the call may not be made."""
        if not self._allowed:
            raise AdminDisabled
