"""Passes the trace that a call belongs to on to the server, as W3C Trace Context.

Source: https://www.w3.org/TR/trace-context/
"""

import sys

__all__ = ["trace_metadata"]


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """The metadata of a call that is made now: that of the current span, or nothing if there is none.

    The package does not depend on OpenTelemetry. Whoever has a current span has imported it.
    """
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return tuple(headers.items())
