"""The kustomize base: rendered, checked against the schemas of Kubernetes, and against itself."""

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from archroute_server.router.policy_file import load_policy_sets
from support.deployment import (
    ADAPTER,
    BASE,
    SCRAPE,
    SETTINGS,
    container,
    container_settings,
    manifest,
    needs,
    run_tool,
)
from support.monitoring import RULES, metrics_of_every_kind, rules
from support.promql import label_names, metric_names
from support.scrape import read_registry

needs_kubectl = needs("kubectl", "kubernetes-client")
# From the first in which probes over gRPC need no feature gate.
VERSIONS = ("1.27", "1.30", "1.33", kubernetes_validate.latest_version())
LABELS = {"app.kubernetes.io/name": "archroute"}


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(run_tool("kubectl", "kustomize", BASE)))


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(rendered: list[dict[str, Any]], version: str) -> None:
    assert {document["kind"] for document in rendered} == {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "Service",
    }
    for document in rendered:
        kubernetes_validate.validate(document, version, strict=True)


@needs_kubectl
def test_a_mistake_would_be_seen(rendered: list[dict[str, Any]]) -> None:
    (service,) = [document for document in rendered if document["kind"] == "Service"]
    wrong = service | {"spec": service["spec"] | {"clusterIp": "None"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@needs_kubectl
def test_the_pods_read_the_policies_that_the_base_brings(rendered: list[dict[str, Any]]) -> None:
    of = {document["kind"]: document for document in rendered}
    volumes = of["Deployment"]["spec"]["template"]["spec"]["volumes"]
    names = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    # With the hash that kustomize adds, so that new policies make new pods.
    assert names == [of["ConfigMap"]["metadata"]["name"]]
    assert names != ["archroute-policies"]
    folder, _, file = container_settings()["ARCHROUTE_POLICIES"].rpartition("/")
    assert file in of["ConfigMap"]["data"]
    assert folder in {mount["mountPath"] for mount in container()["volumeMounts"]}


def test_the_policies_can_be_served() -> None:
    assert load_policy_sets(BASE / "policies.yaml").names() == ("llm-gateway",)


def test_every_variable_is_a_setting() -> None:
    assert container_settings().keys() <= SETTINGS


def test_every_part_means_the_same_pods() -> None:
    deployment = manifest("deployment.yaml")
    assert deployment["spec"]["template"]["metadata"]["labels"] == LABELS
    assert deployment["spec"]["selector"]["matchLabels"] == LABELS
    assert manifest("service.yaml")["spec"]["selector"] == LABELS
    assert manifest("poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"] == LABELS
    target = manifest("horizontalpodautoscaler.yaml")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    # The autoscaler's, which a number in the Deployment would undo whenever it is applied.
    assert "replicas" not in deployment["spec"]


def test_the_service_names_each_pod_and_not_one_address() -> None:
    service = manifest("service.yaml")["spec"]
    assert service["clusterIP"] == "None"
    ports = {port["name"] for port in container()["ports"]}
    assert {port["targetPort"] for port in service["ports"]} == ports


def test_the_probes_ask_where_the_server_listens() -> None:
    listening = {port["name"]: port["containerPort"] for port in container()["ports"]}
    settings = container_settings()
    assert settings["ARCHROUTE_LISTEN"] == f"0.0.0.0:{listening['grpc']}"
    assert settings["ARCHROUTE_METRICS_LISTEN"] == f"0.0.0.0:{listening['metrics']}"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[probe]["grpc"]["port"] == listening["grpc"]


def test_a_pod_has_time_to_drain() -> None:
    pod = manifest("deployment.yaml")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > float(container_settings()["ARCHROUTE_DRAIN_SECONDS"])


def test_a_container_can_do_little() -> None:
    pod = manifest("deployment.yaml")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container()["resources"].keys() == {"requests", "limits"}


def rule_of_the_adapter() -> Any:
    (rule,) = yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]
    return rule


def query() -> str:
    """What the adapter asks Prometheus, for the pods of one namespace."""
    asked: str = rule_of_the_adapter()["metricsQuery"]
    matchers = 'namespace="models",pod=~"archroute-1|archroute-2"'
    return asked.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")


def test_the_autoscaler_asks_for_the_metric_that_the_adapter_gives() -> None:
    (metric,) = manifest("horizontalpodautoscaler.yaml")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule_of_the_adapter()["name"]["as"]


def test_the_adapter_reads_what_a_server_gives() -> None:
    served = read_registry(metrics_of_every_kind().registry).names()
    for expression in (query(), rule_of_the_adapter()["seriesQuery"]):
        assert metric_names(expression)
        assert metric_names(expression) <= served
        assert label_names(expression) <= {"namespace", "pod"}
    assert "<<" not in query()


def test_prometheus_finds_the_pods_under_the_names_that_the_rules_know() -> None:
    (job,) = yaml.safe_load(SCRAPE.read_text())["scrape_configs"]
    assert all(f'job="{job["job_name"]}"' in rule["expr"] for rule in rules() if "job=" in rule["expr"])
    keep, *added = job["relabel_configs"]
    ports = [port["name"] for port in container()["ports"]]
    assert keep["regex"] == f"{LABELS['app.kubernetes.io/name']};{ports[1]}"
    assert {rule["target_label"] for rule in added} == set(rule_of_the_adapter()["resources"]["overrides"])


# How a wait of two pods becomes the number that the autoscaler reads.
WAITS = f"""
rule_files: [{RULES.name}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: archroute_queue_duration_seconds_sum{{namespace="models",pod="archroute-1"}}
        values: 0+30x10
      - series: archroute_queue_duration_seconds_count{{namespace="models",pod="archroute-1"}}
        values: 0+100x10
      - series: archroute_queue_duration_seconds_sum{{namespace="models",pod="archroute-2"}}
        values: 5+0x10
      - series: archroute_queue_duration_seconds_count{{namespace="models",pod="archroute-2"}}
        values: 7+0x10
      - series: archroute_queue_duration_seconds_sum{{namespace="other",pod="archroute-1"}}
        values: 0+600x10
      - series: archroute_queue_duration_seconds_count{{namespace="other",pod="archroute-1"}}
        values: 0+1x10
    promql_expr_test:
      - eval_time: 10m
        expr: QUERY
        exp_samples:
          - {{labels: '{{pod="archroute-1"}}', value: 0.3}}
          - {{labels: '{{pod="archroute-2"}}', value: 0}}
"""


@needs("promtool", "prometheus")
def test_the_metric_is_the_mean_wait_of_each_pod(tmp_path: Path) -> None:
    document = yaml.safe_load(WAITS)
    document["tests"][0]["promql_expr_test"][0]["expr"] = query()
    path = tmp_path / "waits.yaml"
    path.write_text(yaml.safe_dump(document))
    shutil.copy(RULES, tmp_path)
    assert "SUCCESS" in run_tool("promtool", "test", "rules", path)


@needs("promtool", "prometheus")
def test_prometheus_accepts_how_the_pods_are_found(tmp_path: Path) -> None:
    document = yaml.safe_load(SCRAPE.read_text())
    # Debian's Prometheus is built without Kubernetes.
    (job,) = document["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = [{"targets": ["127.0.0.1:9464"]}]
    path = tmp_path / "scrape.yaml"
    path.write_text(yaml.safe_dump(document))
    assert "SUCCESS" in run_tool("promtool", "check", "config", path)
