import io
from dataclasses import replace

from rich.console import Console

from archroute_evaluation.asking.answer import DecidedBy
from archroute_evaluation.report.report import Report
from archroute_evaluation.report.terminal import show


def shown(report: Report) -> str:
    stream = io.StringIO()
    show(report, Console(file=stream, width=160))
    return stream.getvalue()


def test_the_table_says_what_the_figures_are_over(report: Report, awkward: str) -> None:
    lines = [" ".join(line.split()) for line in shown(report).splitlines()]
    low_and_high = "6.1 to 79.2 %"
    assert f"turn accuracy 33.3 % {low_and_high} 1 of 3" in lines
    assert "precision of other - - 0 of 0" in lines
    assert "rewording flips not measured" in lines
    assert "1 failed with UNAVAILABLE (SERVER_STOPPING): line 5" in lines
    assert (
        "models/tiny: model sha256:abababababab, prompt archroute/compact, on cpu, temperature 1.5" in lines
    )
    # Names are shown as they are, whatever they look like.
    assert f"{awkward} code 1 expected 1 times" in lines


def test_a_server_that_changed_meanwhile_is_said_to_have(report: Report) -> None:
    assert "changed" not in shown(report)
    further = DecidedBy("sha256:" + "cd" * 32, "archroute/compact", "cpu", None)
    mixed = shown(replace(report, decided_by=(*report.decided_by, further)))
    assert "sha256:cdcdcdcdcdcd, prompt archroute/compact, on cpu, not calibrated" in mixed
    assert "The server changed what it decides with meanwhile" in mixed


def test_no_text_is_shown(report_with_text: Report, secret: str) -> None:
    assert secret not in shown(report_with_text)
