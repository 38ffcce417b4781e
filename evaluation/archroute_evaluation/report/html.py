"""The report as one HTML page that loads nothing."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from archroute_evaluation.report import text
from archroute_evaluation.report.headline import headline
from archroute_evaluation.report.plots import (
    breakdown_plot,
    confusion_plot,
    reliability_diagram,
    risk_coverage_plot,
)
from archroute_evaluation.report.report import Report

WRONG_SHOWN = 200


def html_report(report: Report) -> bytes:
    """Write the page. Everything that comes from the examples or the router is escaped."""
    environment = Environment(
        loader=PackageLoader("archroute_evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    evaluation = report.evaluation
    page = environment.get_template("report.html.jinja").render(
        report=report,
        evaluation=evaluation,
        figures=headline(evaluation),
        reliability=reliability_diagram(evaluation.reliability),
        risk_coverage=risk_coverage_plot(evaluation.risk_coverage),
        breakdowns=[(each, breakdown_plot(each)) for each in evaluation.breakdowns if each.groups],
        confusion=confusion_plot(evaluation.confusions) if evaluation.confusions else None,
        wrong=report.wrong[:WRONG_SHOWN],
        percent=text.percent,
        interval=text.interval,
        of=text.of,
        lines=text.lines,
        decider=text.decider,
    )
    return page.encode()
