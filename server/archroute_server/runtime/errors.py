"""What can go wrong when a model is loaded."""


class RuntimeLoadError(Exception):
    """A provider or a graph that cannot be loaded; the message says what is missing and what to do."""
