"""What is counted of a request, for each way in which one ends."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from archroute_server.metrics.coverage import CALLERS_CODES, CALLERS_REASONS, DecidedBy, decided_by
from archroute_server.metrics.requests import DURATION_BUCKETS, RequestMetrics
from archroute_server.rpc.status import INTERNAL, STATUS_RULES, StatusRule
from archroute_server.telemetry.finished_request import DecidedRequest, FinishedRequest
from support.scrape import Scrape, read_registry

DECIDED = DecidedRequest(
    outcome="MATCHED",
    policy="code",
    probability=0.75,
    policy_set="coding",
    prompt_tokens=120,
    cached_tokens=100,
    dropped_tokens=7,
    dropped_messages=2,
    forced_tokens=9,
    forward_passes=1,
    from_decision_cache=False,
    fallback_reason=None,
    queue=0.002,
    tokenize=0.0005,
    inference=0.3,
)
SERVERS_REASONS = {
    "DEADLINE_EXCEEDED",
    "DEADLINE_UNREACHABLE",
    "INTERNAL",
    "MODEL_FAILED",
    "MODEL_OUTPUT_INVALID",
    "MODEL_STALLED",
    "POLICY_STORE_FULL",
    "POLICY_STORE_UNWRITABLE",
    "QUEUE_FULL",
    "SERVER_STARTING",
    "SERVER_STOPPING",
}
RECALLED = replace(DECIDED, from_decision_cache=True, forward_passes=0, inference=0.0)
OK = FinishedRequest("Route", "OK", "", 0.31, decided=DECIDED)


def failed(code: str, reason: str = "", method: str = "Route") -> FinishedRequest:
    return FinishedRequest(method, code, reason, 0.01)


def observed(*requests: FinishedRequest) -> Scrape:
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry)
    for request in requests:
        metrics.observe(request)
    return read_registry(registry)


def test_a_decision() -> None:
    found = observed(OK, OK)
    assert (
        found.value("archroute_requests_total", method="Route", code="OK", reason="", outcome="MATCHED") == 2
    )
    assert found.by("archroute_answers_total", "decided_by") == {"model": 2}
    assert found.value("archroute_decisions_total", policy_set="coding", policy="code") == 2
    assert found.value("archroute_prompt_tokens_total") == 240
    assert found.value("archroute_forced_tokens_total") == 18
    assert found.value("archroute_truncated_requests_total") == 2
    assert found.value("archroute_dropped_tokens_total") == 14
    assert found.value("archroute_dropped_messages_total") == 4


@pytest.mark.parametrize(
    ("stage", "seconds"), [("request", 0.31), ("queue", 0.002), ("tokenize", 0.0005), ("inference", 0.3)]
)
def test_how_long_a_decision_took(stage: str, seconds: float) -> None:
    found = observed(OK)
    name = f"archroute_{stage}_duration_seconds"
    assert found.value(f"{name}_count") == 1
    assert found.value(f"{name}_sum") == pytest.approx(seconds)
    for bound in DURATION_BUCKETS:
        assert found.value(f"{name}_bucket", le=str(bound)) == (seconds <= bound)


def test_the_buckets_reach_from_a_millisecond_to_ten_seconds() -> None:
    assert (DURATION_BUCKETS[0], DURATION_BUCKETS[-1]) == (0.001, 10.0)


def test_what_was_not_cut_is_not_counted_as_such() -> None:
    found = observed(replace(OK, decided=replace(DECIDED, dropped_tokens=0, dropped_messages=0)))
    assert found.value("archroute_truncated_requests_total") == 0


def test_the_model_did_not_run_for_what_was_recalled() -> None:
    found = observed(replace(OK, decided=RECALLED))
    assert found.value("archroute_inference_duration_seconds_count") == 0
    assert found.value("archroute_queue_duration_seconds_count") == 1


def test_a_fallback_says_why_and_that_the_model_did_not_decide() -> None:
    given_up = replace(DECIDED, outcome="FALLBACK", fallback_reason="DECIDE_BY_PASSED", forward_passes=0)
    at_once = replace(given_up, fallback_reason="DECIDE_BY_UNREACHABLE", tokenize=0.0)
    found = observed(replace(OK, decided=given_up), replace(OK, decided=at_once))
    assert found.by("archroute_requests_total", "code", "outcome", "reason") == {
        ("OK", "FALLBACK", "DECIDE_BY_PASSED"): 1,
        ("OK", "FALLBACK", "DECIDE_BY_UNREACHABLE"): 1,
    }
    assert found.by("archroute_answers_total", "decided_by") == {"fallback": 2}
    assert found.value("archroute_inference_duration_seconds_count") == 0
    assert found.value("archroute_tokenize_duration_seconds_count") == 1


def test_a_failure_takes_no_part_in_the_times_of_decisions() -> None:
    found = observed(failed("DEADLINE_EXCEEDED"))
    assert found.by("archroute_requests_total", "code", "outcome") == {("DEADLINE_EXCEEDED", ""): 1}
    assert found.value("archroute_request_duration_seconds_count") == 0


def test_a_decision_that_could_not_be_sent_is_no_answer() -> None:
    found = observed(replace(OK, code="CANCELLED"), replace(OK, code="DEADLINE_EXCEEDED"))
    assert found.by("archroute_answers_total", "decided_by") == {"error": 1}
    assert found.by("archroute_decisions_total", "policy") == {}


def test_a_stream_is_counted_beside_its_requests() -> None:
    stream = FinishedRequest("RouteStream", "OK", "", 60.0, stream=True)
    found = observed(replace(OK, method="RouteStream"), stream)
    assert found.by("archroute_requests_total", "method") == {"RouteStream": 1}
    assert found.by("archroute_streams_total", "code") == {"OK": 1}
    assert found.by("archroute_answers_total", "decided_by") == {"model": 1}


def test_every_series_of_the_coverage_is_there_from_the_start() -> None:
    (name,) = {name for name in observed().names() if "answers_total" in name}
    labels = {dict(pairs)["decided_by"] for found, pairs in observed().samples if found == name}
    assert labels == {each.value for each in DecidedBy}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (OK, DecidedBy.MODEL),
        (replace(OK, decided=RECALLED), DecidedBy.DECISION_CACHE),
        (replace(OK, decided=replace(DECIDED, outcome="OTHER", policy=None)), DecidedBy.MODEL),
        (replace(OK, decided=replace(RECALLED, outcome="FALLBACK")), DecidedBy.FALLBACK),
        (failed("DEADLINE_EXCEEDED"), DecidedBy.ERROR),
        (failed("CANCELLED"), None),
        (FinishedRequest("ListPolicySets", "OK", "", 0.001), None),
        (failed("INTERNAL", "INTERNAL", "GetPolicySet"), None),
    ],
)
def test_what_decided(request_: FinishedRequest, expected: DecidedBy | None) -> None:
    assert decided_by(request_) is expected


@pytest.mark.parametrize("rule", [*STATUS_RULES.values(), INTERNAL], ids=lambda rule: rule.reason)
def test_a_caller_at_fault_takes_nothing_from_the_coverage(rule: StatusRule) -> None:
    callers = rule.code.name in CALLERS_CODES or rule.reason in CALLERS_REASONS
    request = failed(rule.code.name, rule.reason)
    assert decided_by(request) is (None if callers else DecidedBy.ERROR)
    # A rule with a code that both could be at fault for needs a word in `CALLERS_REASONS`.
    assert callers == (rule.reason not in SERVERS_REASONS)
