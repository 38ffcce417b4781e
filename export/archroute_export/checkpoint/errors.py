"""What goes wrong with a checkpoint."""


class CheckpointError(Exception):
    """A checkpoint cannot be found, read or used. The message says what is wrong, where, and what to do."""

    def __init__(self, message: str) -> None:
        # What it quotes may hold half of a surrogate pair, which nothing could print.
        super().__init__(message.encode(errors="backslashreplace").decode())
