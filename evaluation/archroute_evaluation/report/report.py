"""Report: an evaluation, and what it is of."""

from dataclasses import dataclass

from archroute_evaluation.asking.answer import DecidedBy
from archroute_evaluation.metrics.evaluation import Evaluation
from archroute_evaluation.metrics.outcome import Outcome
from archroute_server.router.message import Message


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """An answer that is not the expected one; `messages` only where their text may be shown."""

    outcome: Outcome
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What every form of the report is made of.

    `decided_by` has one entry, unless the server changed its model meanwhile.
    """

    file: str
    router: str
    decided_by: tuple[DecidedBy, ...]
    evaluation: Evaluation
    wrong: tuple[WrongAnswer, ...]
    show_text: bool
