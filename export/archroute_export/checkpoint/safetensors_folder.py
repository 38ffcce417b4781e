"""A checkpoint in the Hugging Face layout: config.json, tokenizer.json and safetensors files."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from archroute_export.checkpoint.checkpoint import Checkpoint, check_tensors, digest_files, read_json_object
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.safetensors_file import read_tensor, tensor_shapes
from archroute_export.checkpoint.shape import ModelShape
from archroute_export.digest import Progress

CONFIG = "config.json"
SINGLE_FILE = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"
CHAT_TEMPLATE = "chat_template.jinja"

# What this reader looks at, and hence all that has to be downloaded.
READ_FILES = (
    CONFIG,
    SINGLE_FILE,
    SHARD_INDEX,
    "model-*-of-*.safetensors",
    TOKENIZER,
    TOKENIZER_CONFIG,
    GENERATION_CONFIG,
    CHAT_TEMPLATE,
)


class SafetensorsFolder(Checkpoint):
    """A local folder, as `save_pretrained` and the Hugging Face hub lay it out."""

    kind = "safetensors"

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Read the headers in `folder`; `name` is what to call it, by default its path."""
        self.folder = folder
        title = name or folder.resolve().name
        name = name or str(folder)
        config_path = folder / CONFIG
        if not config_path.is_file():
            raise CheckpointError(f"{name}: {_why_no_config(folder)}")
        self._config = read_json_object(config_path)
        try:
            shape = ModelShape.from_config(self._config)
        except CheckpointError as error:
            raise CheckpointError(f"{config_path}: {error}") from error
        super().__init__(name, title, shape)
        self._weight_files = _weight_files(folder)
        self._file_of: dict[str, Path] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for file in self._weight_files:
            for tensor, found in tensor_shapes(file):
                self._file_of[tensor] = file
                shapes[tensor] = found
        check_tensors(name, shape.tensor_shapes(), shapes)

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """Read one tensor as C-contiguous float32; weights are `[out, in]`. The caller owns the copy."""
        file = self._file_of.get(name)
        if file is None:
            raise CheckpointError(f"{self.name}: there is no tensor {name}")
        return read_tensor(file, name)

    def tokenizer_json(self) -> str:
        """Return `tokenizer.json` as it stands in the folder."""
        path = self.folder / TOKENIZER
        if not path.is_file():
            raise CheckpointError(
                f"{path} is missing; save it with transformers: "
                "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        return _read_text(path)

    def chat_template(self) -> str | None:
        """Return `chat_template.jinja`, or else what tokenizer_config.json says."""
        path = self.folder / CHAT_TEMPLATE
        if path.is_file():
            return _read_text(path)
        template = self._tokenizer_config.get("chat_template")
        if isinstance(template, list):  # several by name, the way transformers once stored them
            entries = [entry for entry in template if isinstance(entry, Mapping)]
            default = next((entry for entry in entries if entry.get("name") == "default"), {})
            template = default.get("template")
        if template is not None and not isinstance(template, str):
            raise CheckpointError(f"{self.folder / TOKENIZER_CONFIG}: chat_template is not text")
        return template

    def special_tokens(self) -> Mapping[str, str]:
        """Return the text of `bos_token` and `eos_token`, those that there are."""
        tokens = {}
        for role in ("bos_token", "eos_token"):
            token = self._tokenizer_config.get(role)
            if isinstance(token, Mapping):  # a serialized AddedToken
                token = token.get("content")
            if isinstance(token, str):
                tokens[role] = token
        return tokens

    def _read_digest(self, progress: Progress | None) -> str:
        return digest_files([self.folder / CONFIG, *self._weight_files], progress)

    def _end_of_text_ids(self) -> Sequence[int]:
        """Prefer the tokenizer's eos_token: of several ids in a generation_config it ends a turn."""
        listed: list[int] = []
        for values in (self._generation_config, self._config):
            ids = values.get("eos_token_id")
            listed += [token for token in (ids if isinstance(ids, list) else [ids]) if isinstance(token, int)]
        eos = self.tokenizer.token_to_id(self.special_tokens().get("eos_token", ""))
        if eos is not None and (not listed or eos in listed):
            return [eos]
        return listed

    @cached_property
    def _tokenizer_config(self) -> Mapping[str, object]:
        return self._optional(TOKENIZER_CONFIG)

    @cached_property
    def _generation_config(self) -> Mapping[str, object]:
        return self._optional(GENERATION_CONFIG)

    def _optional(self, file: str) -> Mapping[str, object]:
        path = self.folder / file
        return read_json_object(path) if path.is_file() else {}


def _weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files, in the order of their names."""
    single = folder / SINGLE_FILE
    if single.is_file():
        return [single]
    index = folder / SHARD_INDEX
    if not index.is_file():
        other = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
        hint = f" It holds {other[0]}: save the model again with safe_serialization=True." if other else ""
        raise CheckpointError(f"{folder}: there is no {SINGLE_FILE} and no {SHARD_INDEX}.{hint}")
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: weight_map is missing or empty")
    files = []
    for shard in sorted(set(map(str, weight_map.values()))):
        path = folder / shard
        if path.parent != folder:
            raise CheckpointError(f"{index}: {shard!r} is not the name of a file in the same folder")
        try:
            found = path.is_file()
        except OSError as error:  # such as a name that is too long
            raise CheckpointError(f"{index}: {shard!r} cannot be a file: {error.strerror}") from error
        if not found:
            raise CheckpointError(f"{path} is missing; {SHARD_INDEX} says that it holds tensors")
        files.append(path)
    return files


def _why_no_config(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return "this is an adapter; name its base model as the source, and this with --adapter"
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        return f"there is no {CONFIG}, but GGUF files: name one of them, for example {ggufs[0]}"
    return f"there is no {CONFIG}; this is not a checkpoint folder"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
