"""Metrics: counted and served for Prometheus. The only room that knows its client library."""
