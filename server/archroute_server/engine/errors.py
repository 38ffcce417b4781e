"""What can keep the engine from deciding a valid request.

Exception
├── EngineClosed              it is stopping
├── DeadlineExceeded          it was not decided in time
├── ModelFailed               running the model raised an error
│   └── ModelOutputInvalid    it gave something that is no number
├── ModelStalled              a forward pass of the model does not come to an end
└── Overloaded
    ├── QueueFull             too much is under way
    └── DeadlineUnreachable   what is under way takes too long for this one
"""


class EngineClosed(Exception):
    """The engine is stopping and decides nothing more."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; send the request to another one")


class DeadlineExceeded(Exception):
    """The deadline passed before there was a decision: the caller's, or the server's own."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before there was a decision; allow more time, or ask for less")


class ModelFailed(Exception):
    """The model could not be run for this request; the cause says why. Others are not concerned."""

    def __init__(self, message: str = "the model failed while it decided this request") -> None:
        super().__init__(message)


class ModelOutputInvalid(ModelFailed):
    """The model gave logits that are not finite, so nothing was decided."""

    def __init__(self) -> None:
        super().__init__("the model's answer to this request holds values that are no numbers")


class ModelStalled(Exception):
    """A forward pass takes longer than one may, and those behind it are not kept waiting for it."""

    def __init__(self) -> None:
        super().__init__("the model does not respond; send the request to another server")


class Overloaded(Exception):
    """The request was refused because of those before it; nothing was done for it.

    `retry_after` is in seconds, above 0.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(f"{message}; try again in {retry_after:.3g} s, or ask another server")
        self.retry_after = retry_after


class QueueFull(Overloaded):
    """As many requests, or tokens, are under way as may be."""

    def __init__(self, limit: float, unit: str, setting: str, retry_after: float) -> None:
        super().__init__(f"the server is full: {setting} allows {limit} {unit} to be under way", retry_after)


class DeadlineUnreachable(Overloaded):
    """The deadline would pass before the decision, going by the pace of those before it."""

    def __init__(self, expected: float, remaining: float, retry_after: float) -> None:
        super().__init__(
            f"a decision would take about {expected:.3g} s, and {remaining:.3g} s of the deadline are left",
            retry_after,
        )
