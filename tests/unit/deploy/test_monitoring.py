"""The dashboard and the alert rules: they read what a server gives, and Prometheus' own tool accepts them."""

import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from archroute_server.lifecycle.reload import ReloadResult
from archroute_server.metrics.http_server import MetricsServer
from support.monitoring import (
    CONFIGURATION,
    RULE_TESTS,
    RULES,
    dashboard_expressions,
    metrics_of_every_kind,
    panels,
    rules,
)
from support.promql import label_names, metric_names
from support.scrape import Scrape, scrape

# What Prometheus itself adds.
OWN_METRICS = {"up"}
OWN_LABELS = {"job", "instance", "le"}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="needs promtool, which Debian's package prometheus has: apt-get install prometheus",
)


@pytest.fixture(scope="module")
def exposition() -> Scrape:
    metrics = metrics_of_every_kind()
    with closing(MetricsServer(metrics.registry, "127.0.0.1", 0)) as server:
        return scrape(f"http://127.0.0.1:{server.port}/metrics")


def expressions() -> list[str]:
    return [*(rule["expr"] for rule in rules()), *dashboard_expressions()]


def test_the_expressions_are_found() -> None:
    assert len(rules()) >= 10
    assert len(dashboard_expressions()) >= 30


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_is_one_that_a_server_gives(expression: str, exposition: Scrape) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert metric_names(expression) <= exposition.names() | OWN_METRICS | recorded
    labels = {label for _, pairs in exposition.samples for label, _ in pairs}
    assert label_names(expression) <= labels | OWN_LABELS
    assert "$" not in expression


def test_what_an_expression_names() -> None:
    expression = 'sum by (job, le) (rate(a_total{code!~"x{y}"}[5m])) / b:c:rate5m > 0.5e3 and up{} == 1'
    assert metric_names(expression) == {"a_total", "b:c:rate5m", "up"}
    assert label_names(expression) == {"job", "le", "code"}


@pytest.mark.parametrize("selector", re.findall(r'(\w+)=~?"([^"$]+)"', " ".join(expressions())))
def test_every_label_value_that_is_selected_can_be_there(selector: tuple[str, str]) -> None:
    label, values = selector
    known = {
        "decided_by": {"model", "decision_cache", "fallback", "error"},
        "result": {"hit", "miss", "ok", *(result.value for result in ReloadResult)},
        "code": {"INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "OK"},
        "job": {"archroute", ".+"},
        "instance": {".+"},
    }
    assert set(values.split("|")) <= known[label]


def test_the_coverage_comes_first() -> None:
    assert "Coverage" in panels()[0]["title"]
    assert panels()[1]["title"] == "Coverage"
    assert next(rule["alert"] for rule in rules() if "alert" in rule) == "ArchrouteCoverageLow"


def test_latencies_over_time_show_their_exemplars() -> None:
    targets = [target for panel in panels() if panel["type"] == "timeseries" for target in panel["targets"]]
    quantiles = [target for target in targets if "_duration_seconds_bucket" in target["expr"]]
    assert len(quantiles) >= 6
    assert all(target["exemplar"] is True for target in quantiles)


def test_panels_have_a_place_and_an_id_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken
        assert all(column < 24 for column, _ in cells)
        taken |= cells
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert rule["annotations"].keys() == {"summary", "description"}


def test_every_alert_is_tested() -> None:
    text = RULE_TESTS.read_text()
    for rule in rules():
        if "alert" in rule:
            assert rule["alert"] in text


def promtool(*arguments: str | Path, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_rules_are_accepted() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", RULES)


@needs_promtool
def test_the_configuration_is_accepted() -> None:
    assert "SUCCESS" in promtool("check", "config", CONFIGURATION)


@needs_promtool
def test_the_rules_do_what_their_tests_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS)


@needs_promtool
def test_the_expressions_of_the_dashboard_are_accepted(tmp_path: Path) -> None:
    """As recording rules, since the tool knows no dashboards."""
    found = dashboard_expressions()
    as_rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(found)]
    path = tmp_path / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": as_rules}]}))
    assert f"SUCCESS: {len(found)} rules found" in promtool("check", "rules", path)


@needs_promtool
def test_names_and_help_follow_the_conventions(exposition: Scrape) -> None:
    promtool("check", "metrics", stdin=exposition.text)
