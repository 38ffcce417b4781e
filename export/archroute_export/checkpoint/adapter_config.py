"""`adapter_config.json`: which projections a LoRA adapter changes, and how strongly.

Format: `LoraConfig` of PEFT, https://huggingface.co/docs/peft/package_reference/lora
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from archroute_export.checkpoint.checkpoint import read_json_object
from archroute_export.checkpoint.errors import CheckpointError

# Fields that say where an adapter comes from or how it was trained, and nothing of what it computes.
_OF_TRAINING = frozenset(
    {
        "alora_invocation_tokens",
        "auto_mapping",
        "base_model_name_or_path",
        "ensure_weight_tying",
        "eva_config",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
    }
)
_HONOURED = frozenset(
    {
        "alpha_pattern",
        "bias",
        "exclude_modules",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "peft_type",
        "r",
        "rank_pattern",
        "target_modules",
        "use_rslora",
    }
)
# Other ways to begin training change the base's weights too, which an adapter does not hold.
_PLAIN_BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")

_LAYER = re.compile(r"\.layers\.(\d+)\.")

_Value = TypeVar("_Value", int, float)

# Says of a module's name, such as `model.layers.0.self_attn.q_proj`, whether it is meant.
_Selects = Callable[[str], bool]


@dataclass(frozen=True)
class AdapterConfig:
    """The fields of a LoRA adapter's config that decide what it computes.

    `ranks` and `alphas` are the exceptions from `rank` and `alpha`, by patterns of module names; the first
    that matches counts.
    """

    rank: int
    alpha: float
    ranks: Mapping[re.Pattern[str], int]
    alphas: Mapping[re.Pattern[str], float]
    rank_stabilized: bool
    targets: _Selects

    @classmethod
    def read(cls, path: Path) -> "AdapterConfig":
        """Read the file. Raises `CheckpointError` for what is malformed, and for kinds that are not LoRA."""
        values = read_json_object(path)
        try:
            _refuse_other_kinds(values)
            return cls(
                rank=_rank(values.get("r"), "r"),
                alpha=_number(values.get("lora_alpha"), "lora_alpha"),
                ranks=_by_pattern(values, "rank_pattern", _rank),
                alphas=_by_pattern(values, "alpha_pattern", _number),
                rank_stabilized=_flag(values.get("use_rslora"), "use_rslora"),
                targets=_targets(values),
            )
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def rank_of(self, module: str) -> int:
        """Return the rank of a module's adapter."""
        return next((rank for pattern, rank in self.ranks.items() if pattern.match(module)), self.rank)

    def scale_of(self, module: str) -> float:
        """Return what the product `B @ A` of a module is multiplied by.

        Plain LoRA (arXiv 2106.09685) takes alpha / rank, the rank-stabilized one (arXiv 2312.03732)
        alpha / sqrt(rank).
        """
        alpha = next((alpha for pattern, alpha in self.alphas.items() if pattern.match(module)), self.alpha)
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def _refuse_other_kinds(values: Mapping[str, object]) -> None:
    kind = values.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"peft_type is {kind!r}; only 'LORA' can be merged")
    beginning = values.get("init_lora_weights")
    if beginning not in _PLAIN_BEGINNINGS:
        raise CheckpointError(
            f"init_lora_weights is {beginning!r}, which changes the base as well; convert the adapter with "
            "PEFT: save_pretrained(FOLDER, path_initial_model_for_weight_conversion=...)"
        )
    if values.get("bias", "none") != "none":
        raise CheckpointError(f"bias is {values['bias']!r}; only 'none' can be merged")
    for name, value in values.items():
        # What is off or empty changes nothing, whatever it is.
        if name not in _OF_TRAINING | _HONOURED and value:
            raise CheckpointError(f"{name} is {value!r}; an adapter with that cannot be merged here")


def _targets(values: Mapping[str, object]) -> _Selects:
    """Select modules as `peft.tuners.tuners_utils.check_target_module_exists` does."""
    if values.get("layers_pattern") not in (None, [], "", "layers", ["layers"]):
        raise CheckpointError(f"layers_pattern is {values['layers_pattern']!r}; expected 'layers'")
    included = _selection(values.get("target_modules"), "target_modules")
    excluded = _selection(values.get("exclude_modules") or [], "exclude_modules")
    layers = _layers(values.get("layers_to_transform"))

    def targets(module: str) -> bool:
        if excluded(module) or not included(module):
            return False
        layer = _LAYER.search(module)
        return layers is None or (layer is not None and int(layer[1]) in layers)

    return targets


def _selection(value: object, field: str) -> _Selects:
    """A text is a pattern of whole names, a list holds names or the ends of names."""
    if isinstance(value, str):
        if value == "all-linear":
            return lambda module: True
        pattern = _pattern(value, field)
        return lambda module: pattern.fullmatch(module) is not None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise CheckpointError(f"{field} is {value!r}; expected a list of module names, or a pattern")
    ends = tuple(f".{name}" for name in value)
    return lambda module: f".{module}".endswith(ends)


def _layers(value: object) -> frozenset[int] | None:
    listed = [value] if isinstance(value, int) else value
    if listed is None or listed == []:
        return None
    if not isinstance(listed, list) or not all(isinstance(layer, int) for layer in listed):
        raise CheckpointError(f"layers_to_transform is {value!r}; expected the numbers of layers")
    return frozenset(listed)


def _by_pattern(
    values: Mapping[str, object], field: str, read: Callable[[object, str], _Value]
) -> Mapping[re.Pattern[str], _Value]:
    """Read exceptions by module; a key is the end of a module's name, or a pattern of it."""
    exceptions = values.get(field) or {}
    if not isinstance(exceptions, dict):
        raise CheckpointError(f"{field} is {exceptions!r}; expected an object")
    return {
        _pattern(rf"(.*\.)?({key})$", field): read(value, f"{field}[{key!r}]")
        for key, value in exceptions.items()
    }


def _pattern(text: str, field: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise CheckpointError(f"{field} holds {text!r}, which is no pattern: {error}") from error


def _rank(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointError(f"{field} is {value!r}; expected a whole number greater than zero")
    return value


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CheckpointError(f"{field} is {value!r}; expected a number")
    return float(value)


def _flag(value: object, field: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise CheckpointError(f"{field} is {value!r}; expected true or false")
    return bool(value)
