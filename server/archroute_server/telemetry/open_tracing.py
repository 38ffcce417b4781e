"""Traces, if they are wanted and what they need is installed."""

from archroute_server.telemetry.tracing import Tracing, TracingUnavailable, Untraced


def open_tracing(*, traces: bool) -> Tracing:
    """Return what makes the traces of a server: nothing does, unless `traces` is set.

    Raises `TracingUnavailable`.
    """
    if not traces:
        return Untraced()
    try:
        # Late, because OpenTelemetry is an extra, and takes its time to import.
        from archroute_server.telemetry.spans import OpenTelemetryTracing
    except ModuleNotFoundError as error:
        raise TracingUnavailable(
            f"--traces needs the 'otel' extra: pip install 'archroute[otel]' "
            f"(there is no module {error.name!r})"
        ) from error
    return OpenTelemetryTracing.over_otlp()
