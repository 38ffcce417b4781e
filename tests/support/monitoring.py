"""The dashboard and the alert rules under `deploy`, and a server's metrics to try them on."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from archroute_server.access.reloading import ReloadStatistics
from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.metrics.metrics import Metrics
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.policy_file import PlacedPolicySets
from archroute_server.router.policy_sets import PolicySets
from archroute_server.telemetry.finished_request import DecidedRequest, FinishedRequest
from support.fake_engine import FakeEngine

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "archroute.json"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
CONFIGURATION = DEPLOY / "prometheus" / "prometheus.yaml"
RULE_TESTS = DEPLOY / "prometheus" / "alerts.test.yaml"

# What a dashboard puts in the place of a variable.
VARIABLES = {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}


@dataclass(frozen=True)
class _Files:
    statistics: ReloadStatistics


def metrics_of_every_kind() -> Metrics:
    """What a server counts that has decided a request, finished a stream, and failed at another."""
    metrics = Metrics()
    metrics.engine.open(FakeEngine())
    files = ReloadStatistics(loaded=1, failed=0, successful=True)
    metrics.reloads.watch({"certificate": _Files(files)}, lambda: datetime(2100, 1, 1, tzinfo=UTC))
    policies = (Policy("code", "Writing code."),)
    metrics.catalogue.open(PolicyCatalogue(PlacedPolicySets(PolicySets([PolicySet("coding", policies)]), {})))
    decided = DecidedRequest("MATCHED", "code", 0.9, "coding", 5, 4, 0, 0, 3, 1, False, None, 0.0, 0.0, 0.1)
    metrics.requests.observe(FinishedRequest("Route", "OK", "", 0.1, decided=decided))
    metrics.requests.observe(FinishedRequest("Route", "INTERNAL", "INTERNAL", 0.1))
    metrics.requests.observe(FinishedRequest("RouteStream", "OK", "", 0.1, stream=True))
    return metrics


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_expressions() -> list[str]:
    """The expressions of all panels, with something in the place of each variable."""
    found = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    for variable, value in VARIABLES.items():
        found = [expression.replace(variable, value) for expression in found]
    return found
