import io
from dataclasses import replace

from rich.console import Console

from archroute_evaluation.fitting.minimum import Minimum
from archroute_evaluation.metrics.proportion import Proportion
from archroute_evaluation.report.calibration import CalibrationReport, show_calibration
from archroute_server.bundle.manifest import Calibration

CALIBRATION = Calibration(
    temperature=1.5,
    examples=400,
    fitted_on="sha256:00",
    loss_before=0.5,
    loss_after=0.4,
    error_before=0.1,
    error_after=0.02,
    precision=0.95,
    min_probability=0.7,
    coverage=0.5,
)
REPORT = CalibrationReport(
    folder="models/tiny",
    calibration=CALIBRATION,
    replaced=None,
    written=True,
    accuracy=Proportion(320, 400),
    error_by_chance=0.015,
    minimum=Minimum(0.7, Proportion(200, 400), Proportion(192, 200)),
    at_bound=False,
    failed=(),
)


def shown(report: CalibrationReport) -> str:
    stream = io.StringIO()
    show_calibration(report, Console(file=stream, width=160))
    return " ".join(stream.getvalue().split())


def test_what_was_found_is_said() -> None:
    said = shown(REPORT)
    assert "temperature 1.5, fitted on 400 examples" in said
    assert "accuracy 80.0 % (320 of 400), as before" in said
    assert "expected calibration error 0.1000 before, 0.0200 after 0.0150 by chance" in said
    assert "minimum probability 0.7000, for a precision of 95.0 %: 192 of 200 answers that reach it" in said
    assert "50.0 % of the examples are answered" in said
    assert "Written to models/tiny" in said
    assert "few examples" not in said


def test_what_a_person_should_know_is_said() -> None:
    calibration = replace_calibration(examples=99)
    said = shown(
        replace(
            REPORT,
            calibration=calibration,
            replaced=replace_calibration(temperature=2.0),
            written=False,
            minimum=None,
            at_bound=True,
            failed=(3, 7),
        )
    )
    assert "2 examples could not be decided and took no part: lines 3, 7" in said
    assert "replaces 2" in said
    assert "minimum probability none: no 30 surest answers are right in 95.0 % of the cases" in said
    assert "These are few examples" in said
    assert "at the end of the range" in said
    assert "The bundle is as it was (--dry-run)." in said


def replace_calibration(**fields: float) -> Calibration:
    return Calibration(
        **{name: getattr(CALIBRATION, name) for name in CALIBRATION.__struct_fields__} | fields
    )
