import pytest

from archroute_evaluation.asking.answer import DecidedBy
from archroute_evaluation.metrics.evaluation import evaluate
from archroute_evaluation.metrics.flips import Flips
from archroute_evaluation.metrics.outcome import Failure
from archroute_evaluation.metrics.proportion import Proportion
from archroute_evaluation.report.report import Report, WrongAnswer
from archroute_server.router.message import Message, Role
from support.outcomes import outcome

# What breaks a page, a formula or a terminal that takes a name for markup.
AWKWARD = "<b>$x^2$</b> [red]数据&"
SECRET = "my bank account is empty"


def make_report(*, show_text: bool = False) -> Report:
    outcomes = [
        outcome("code", "code", 0.9, line=1, language="en", source="clinc"),
        outcome(AWKWARD, "code", 0.6, line=2, language="de", source="sgd"),
        outcome("other", AWKWARD, 0.4, line=4, policies=12, turns=2),
    ]
    evaluation = evaluate(
        outcomes,
        [Failure(5, "UNAVAILABLE", "SERVER_STOPPING")],
        other="other",
        order_flips=Flips(Proportion(1, 3), Proportion(1, 6), failed=2),
    )
    messages = (Message(Role.USER, SECRET), Message(Role.ASSISTANT, "<script>alert(1)</script>"))
    return Report(
        file="examples.jsonl",
        router="models/tiny",
        decided_by=(DecidedBy("sha256:" + "ab" * 32, "archroute/compact", "cpu", 1.5),),
        evaluation=evaluation,
        wrong=tuple(WrongAnswer(each, messages if show_text else ()) for each in outcomes if not each.right),
        show_text=show_text,
    )


@pytest.fixture
def report() -> Report:
    return make_report()


@pytest.fixture
def report_with_text() -> Report:
    return make_report(show_text=True)


@pytest.fixture
def awkward() -> str:
    return AWKWARD


@pytest.fixture
def secret() -> str:
    return SECRET
