"""What goes wrong with a checkpoint."""


class CheckpointError(Exception):
    """A checkpoint cannot be found, read or used. The message says what is wrong, where, and what to do."""
