"""Bundles of tiny checkpoints, exported and opened the way that users do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from archroute_export.exporting import ExportRequest, export
from archroute_export.progress import Stages
from archroute_server.bundle.bundle import Bundle, open_bundle
from archroute_server.bundle.manifest import PrecisionName
from archroute_server.engine import loading
from archroute_server.router.encoder import PromptEncoder
from archroute_server.runtime.device.session import DeviceSession
from archroute_server.runtime.providers import choose_provider
from archroute_server.runtime.session import Session


def export_bundle(checkpoint: Path, output: Path, precision: PrecisionName = "fp32") -> Bundle:
    """Export a local checkpoint and open the bundle."""
    export(
        ExportRequest(
            source=str(checkpoint),
            output=output,
            precision=precision,
            variant="arch-router/model-card",
            replace=False,
        ),
        Stages(),
    )
    return open_bundle(output)


def open_session(bundle: Bundle) -> Session:
    """Load a bundle's graph on the CPU."""
    provider = choose_provider("cpu", bundle.manifest.precision)
    return Session(bundle.graph, bundle.manifest.model, provider, threads=1)


def open_encoder(bundle: Bundle, budget: int = 2048) -> PromptEncoder:
    """Return the encoder of a bundle's prompts."""
    return loading.open_encoder(bundle, budget)


def open_device_session(bundle: Bundle, **capabilities: Any) -> DeviceSession:
    """Load a bundle's graph with the CPU as the device that holds the cache; see `Provider`."""
    provider = choose_provider("cpu", bundle.manifest.precision)
    provider = replace(provider, **capabilities)
    return DeviceSession(bundle.graph, bundle.manifest.model, provider, threads=1)
