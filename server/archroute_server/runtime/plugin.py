"""Registering the library of a plugin with ONNX Runtime, and finding its devices."""

import importlib
from functools import cache

import onnxruntime as ort

from archroute_server.runtime.cuda_driver import describe_gpus
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import Plugin, Provider


def plugin_devices(provider: Provider, plugin: Plugin) -> list[ort.OrtEpDevice]:
    """Return the devices that the plugin runs on, at least one.

    Raises `RuntimeLoadError` if ONNX Runtime cannot load the plugin, or if there is no such device.
    """
    library = importlib.import_module(plugin.module).get_library_path()
    try:
        _register(provider.onnxruntime_name, library)
    except Exception as error:
        raise RuntimeLoadError(
            f"ONNX Runtime cannot load the plugin of the {provider.name} provider: {error}; "
            f"{provider.install}, or use --provider cpu"
        ) from error
    devices = [device for device in ort.get_ep_devices() if device.ep_name == provider.onnxruntime_name]
    if not devices:
        raise RuntimeLoadError(
            f"the {provider.name} provider runs on {plugin.devices}; here it finds no such device, and the "
            f"driver has {', '.join(describe_gpus()) or 'none'}. Use --provider cuda or cpu"
        )
    return devices


@cache
def _register(name: str, library: str) -> None:
    """Register a library, once in a process: it stays, and ONNX Runtime refuses it a second time."""
    ort.register_execution_provider_library(name, library)
