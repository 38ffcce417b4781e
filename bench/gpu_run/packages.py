"""The packages that the benchmark imports, so that all that are missing can be named at once."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A package as it is imported, and as pip calls it."""

    module: str
    distribution: str

    def installed(self) -> bool:
        """Say whether it could be imported."""
        return importlib.util.find_spec(self.module) is not None


# What the exporter and the engine import, and what the figures are drawn with.
REQUIRED = (
    Package("cachetools", "cachetools"),
    Package("gguf", "gguf"),
    Package("huggingface_hub", "huggingface-hub"),
    Package("jinja2", "jinja2"),
    Package("matplotlib", "matplotlib"),
    Package("ml_dtypes", "ml-dtypes"),
    Package("msgspec", "msgspec"),
    Package("numpy", "numpy"),
    Package("onnx_ir", "onnx-ir"),
    Package("onnxruntime", "onnxruntime-gpu"),
    Package("platformdirs", "platformdirs"),
    Package("rich", "rich"),
    Package("safetensors", "safetensors"),
    Package("tokenizers", "tokenizers"),
    Package("yaml", "pyyaml"),
)
TORCH = Package("torch", "torch")
TRANSFORMERS = Package("transformers", "transformers")


def missing(packages: Sequence[Package]) -> list[str]:
    """Return how pip calls those that are not installed."""
    return [package.distribution for package in packages if not package.installed()]
