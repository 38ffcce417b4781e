"""RequestMetrics: what became of the requests."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from archroute_server.metrics.coverage import DecidedBy, decided_by
from archroute_server.metrics.policy_labels import PolicyLabels
from archroute_server.telemetry.finished_request import DecidedRequest, FinishedRequest

# Seconds. A decision takes from a millisecond, recalled, to seconds, with a long prompt on a small CPU.
DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """Counts finished requests. May be told of them by one thread while others read the registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._labels = PolicyLabels()
        self._requests = Counter(
            "archroute_requests",
            "Requests by how they ended. outcome is that of the decision, empty where there is none; reason "
            "is that of the error or of the fallback, empty where there is neither.",
            ("method", "code", "reason", "outcome"),
            registry=registry,
        )
        self._streams = Counter(
            "archroute_streams",
            "RouteStream calls by how they ended; their requests are counted apart.",
            ("code", "reason"),
            registry=registry,
        )
        self._answers = Counter(
            "archroute_answers",
            "Requests for a decision by what decided them. The share of model and decision_cache is the "
            "coverage. Requests that the caller got wrong or gave up are left out.",
            ("decided_by",),
            registry=registry,
        )
        for each in DecidedBy:
            self._answers.labels(each.value)  # At 0 from the start: a rate needs a first value.
        self._decisions = Counter(
            "archroute_decisions",
            "Decisions by policy set and policy, of the policy sets that the server holds.",
            ("policy_set", "policy"),
            registry=registry,
        )
        self._total = _duration(
            "archroute_request_duration_seconds", "From a request's arrival to its answer.", registry
        )
        self._queue = _duration(
            "archroute_queue_duration_seconds",
            "The wait for the inference thread, or for an equal request that it ran for.",
            registry,
        )
        self._tokenize = _duration(
            "archroute_tokenize_duration_seconds",
            "From a conversation to its tokens, unless it was recalled or given up before.",
            registry,
        )
        self._inference = _duration(
            "archroute_inference_duration_seconds",
            "Running the model, for requests that it was run for. A run for several counts for each.",
            registry,
        )
        self._truncated = Counter(
            "archroute_truncated_requests",
            "Decisions on a conversation that was cut to the token budget.",
            registry=registry,
        )
        self._dropped_tokens = Counter(
            "archroute_dropped_tokens", "Tokens of conversations that were cut off.", registry=registry
        )
        self._dropped_messages = Counter(
            "archroute_dropped_messages",
            "Messages of conversations that were left out whole.",
            registry=registry,
        )
        self._prompt_tokens = Counter(
            "archroute_prompt_tokens", "Tokens of the prompts of decisions.", registry=registry
        )
        self._forced_tokens = Counter(
            "archroute_forced_tokens",
            "Tokens of answers that followed from the ones before them, which no forward pass was spent on.",
            registry=registry,
        )

    def observe(self, request: FinishedRequest) -> None:
        """Count a request."""
        if request.stream:
            self._streams.labels(request.code, request.reason).inc()
            return
        decided = request.decided if request.code == "OK" else None
        outcome = decided.outcome if decided else ""
        reason = request.reason or (decided and decided.fallback_reason) or ""
        self._requests.labels(request.method, request.code, reason, outcome).inc()
        if (by := decided_by(request)) is not None:
            self._answers.labels(by.value).inc()
        if decided is not None:
            # Only shown to a reader that asks for OpenMetrics, as Prometheus does.
            exemplar = {"trace_id": request.trace_id} if request.trace_id else None
            self._total.observe(request.seconds, exemplar)
            self._observe_decision(decided, exemplar)

    def _observe_decision(self, decided: DecidedRequest, exemplar: dict[str, str] | None) -> None:
        self._decisions.labels(*self._labels.of(decided)).inc()
        self._queue.observe(decided.queue, exemplar)
        # What is recalled or given up at once goes through neither.
        if decided.tokenize:
            self._tokenize.observe(decided.tokenize, exemplar)
        if decided.forward_passes:
            self._inference.observe(decided.inference, exemplar)
        if decided.dropped_tokens or decided.dropped_messages:
            self._truncated.inc()
        self._dropped_tokens.inc(decided.dropped_tokens)
        self._dropped_messages.inc(decided.dropped_messages)
        self._prompt_tokens.inc(decided.prompt_tokens)
        self._forced_tokens.inc(decided.forced_tokens)


def _duration(name: str, text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(
        name, f"{text} Of requests that were decided.", buckets=DURATION_BUCKETS, registry=registry
    )
