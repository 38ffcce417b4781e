"""A LoRA adapter on disk, as PEFT and `archroute finetune` write it."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from archroute_export.checkpoint.adapter_config import AdapterConfig
from archroute_export.checkpoint.checkpoint import digest_files, read_json_object
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.safetensors_file import read_tensor, tensor_shapes
from archroute_export.checkpoint.shape import ModelShape
from archroute_server.bundle.errors import BundleError
from archroute_server.bundle.manifest import Calibration

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# Only `archroute finetune` writes this: what the adapter was trained on.
TRAINING = "training.json"
# Only `archroute calibrate` writes this: how sure the base with the adapter is, and how often right.
CALIBRATION = "calibration.json"

_PROJECTION = re.compile(
    r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)", flags=re.ASCII
)
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_[AB]\.weight")


class Adapter:
    """Two thin matrices for each projection that it changes: W becomes W + scale * B @ A.

        W  [out, in]      of the base
        A  [rank, in]     base_model.model.<projection>.lora_A.weight
        B  [out, rank]    base_model.model.<projection>.lora_B.weight

    Opening one reads it whole, since it is small; every method raises `CheckpointError`. `name` is what
    messages call it, `title` what to call it on another machine: no path.
    """

    def __init__(self, folder: Path, title: str | None = None) -> None:
        self.name = str(folder)
        self.title = title or folder.resolve().name
        _check_folder(folder)
        self.folder = folder
        self._config = AdapterConfig.read(folder / CONFIG)
        self._file = folder / WEIGHTS
        self._shapes = dict(tensor_shapes(self._file))
        for tensor in self._shapes:
            self._check_tensor(tensor)
        training = folder / TRAINING
        self._training = read_json_object(training) if training.is_file() else {}

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over config and weights, as `digest_files` makes it."""
        return digest_files([self.folder / CONFIG, self._file])

    @cached_property
    def prompt(self) -> str | None:
        """The prompt variant that it was trained on, or None if it does not say."""
        return self._text(self._training, "prompt")

    @cached_property
    def base_digest(self) -> str | None:
        """The digest of the checkpoint that it was trained on, or None if it does not say."""
        base = self._training.get("base")
        return self._text(base, "digest") if isinstance(base, dict) else None

    @cached_property
    def calibration(self) -> Calibration | None:
        """How a bundle that was exported with it was calibrated, or None if none was."""
        path = self.folder / CALIBRATION
        if not path.exists():
            return None
        try:
            return Calibration.decode(path.read_bytes(), str(path))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
        except BundleError as error:
            raise CheckpointError(str(error)) from error

    def changes(self, module: str) -> bool:
        """Say whether it changes a module, such as `model.layers.0.self_attn.q_proj`."""
        return _tensor_name(module, "A") in self._shapes

    def change(self, module: str) -> npt.NDArray[np.float32]:
        """Return what is added to the weight of a module that it changes: `[out, in]`."""
        first, second = (read_tensor(self._file, _tensor_name(module, part)) for part in "AB")
        second *= np.float32(self._config.scale_of(module))
        return second @ first

    def check(self, shape: ModelShape, base: str) -> None:
        """Raise `CheckpointError` unless it is one for a model of this shape, which messages call `base`."""
        expected = dict(self._expected(shape))
        for tensor in self._shapes:
            if tensor not in expected:
                raise CheckpointError(f"{self._file}: {self._why_extra(tensor, shape, base)}")
        missing = [tensor for tensor in expected if tensor not in self._shapes]
        if missing:
            raise CheckpointError(
                f"{self._file}: {len(missing)} tensors are missing, the first is {missing[0]}; {CONFIG} and "
                f"{base}, which has {shape.layers} layers, ask for it"
            )
        for tensor, wanted in expected.items():
            if self._shapes[tensor] != wanted:
                raise CheckpointError(
                    f"{self._file}: {tensor} has the shape {list(self._shapes[tensor])}, but {base} with "
                    f"the rank in {CONFIG} takes {list(wanted)}; was the adapter trained on another base?"
                )

    def _expected(self, shape: ModelShape) -> Iterator[tuple[str, tuple[int, int]]]:
        for weight, size in shape.tensor_shapes().items():
            module = weight.removesuffix(".weight")
            if _PROJECTION.fullmatch(module) and self._config.targets(module):
                outputs, inputs = size
                rank = self._config.rank_of(module)
                yield _tensor_name(module, "A"), (rank, inputs)
                yield _tensor_name(module, "B"), (outputs, rank)

    def _check_tensor(self, tensor: str) -> None:
        found = _TENSOR.fullmatch(tensor)
        if not found or not _PROJECTION.fullmatch(found[1]):
            raise CheckpointError(
                f"{self._file}: {tensor} cannot be merged: only adapters of q_proj, k_proj, v_proj, o_proj, "
                "gate_proj, up_proj and down_proj can, without biases and without modules saved whole"
            )
        if not np.isfinite(read_tensor(self._file, tensor)).all():
            raise CheckpointError(
                f"{self._file}: {tensor} holds values that are not finite; the training went wrong"
            )

    def _why_extra(self, tensor: str, shape: ModelShape, base: str) -> str:
        module = tensor.removeprefix("base_model.model.").rpartition(".lora_")[0]
        if f"{module}.weight" in shape.tensor_shapes():
            return f"{tensor} is there, but {CONFIG} does not name {module}"
        return (
            f"{tensor} is of a layer that {base} does not have, which has {shape.layers}: name the base that "
            "the adapter was trained on"
        )

    def _text(self, values: Mapping[str, object], field: str) -> str | None:
        value = values.get(field)
        if value is not None and not isinstance(value, str):
            raise CheckpointError(f"{self.folder / TRAINING}: {field} is {value!r}; expected text")
        return value


def _tensor_name(module: str, part: str) -> str:
    return f"base_model.model.{module}.lora_{part}.weight"


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise CheckpointError(
            f"{folder}: there is no such folder. Name the one that 'archroute finetune' or PEFT wrote"
        )
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: not a folder. Name the one that holds {CONFIG} and {WEIGHTS}")
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            hint = (
                "; save the adapter again with safe_serialization=True"
                if (folder / WEIGHTS).with_suffix(".bin").is_file()
                else ""
            )
            raise CheckpointError(f"{folder}: there is no {file}; this is not a LoRA adapter of PEFT's{hint}")
