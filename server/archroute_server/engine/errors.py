"""What can keep the engine from deciding a valid request."""


class EngineClosed(Exception):
    """The engine is stopping and decides nothing more."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; send the request to another one")
