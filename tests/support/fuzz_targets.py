"""What reads bytes that others wrote, for the fuzzers: each raises its declared errors and nothing else."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from archroute.v1 import router_pb2
from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.gguf_file import GgufFile
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_server.bundle.bundle import open_bundle
from archroute_server.bundle.errors import BundleError
from archroute_server.router.errors import InvalidRequest, PolicySetNotFound
from archroute_server.router.example_file import ExampleFileError, read_examples, write_examples
from archroute_server.router.frame import ChatFrame, ChatFrameError
from archroute_server.router.policy_file import PolicyFileError, load_policy_sets
from archroute_server.router.tokenizer import Tokenizer, TokenizerError
from archroute_server.rpc.convert import read_question
from archroute_server.rpc.errors import MalformedRequest, NoDefaultPolicySet
from archroute_server.rpc.wire import parse
from support.awkward_policies import POLICIES
from support.checkpoints import tiny_tokenizer, write_tiny_checkpoint
from support.gguf_checkpoints import write_tiny_gguf
from support.request_seeds import SEEDS
from support.rpc_calls import POLICY_SETS

EXAMPLES = Path(__file__).parents[2] / "examples" / "labelled.jsonl"


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of one file in a folder; `prepare` puts the others there."""

    name: str
    file: str
    prepare: Callable[[Path], None]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]

    def seeds(self, folder: Path) -> tuple[bytes, ...]:
        """Prepare an empty folder, and return contents of the file that are right."""
        self.prepare(folder)
        if self is REQUEST:
            return SEEDS
        return ((folder / self.file).read_bytes(),)

    def check(self, data: bytes, folder: Path) -> bool:
        """Read `data` in a prepared folder, and say whether it is accepted.

        Any exception that is not declared is what the fuzzers look for. A declared one must be fit to print.
        """
        (folder / self.file).write_bytes(data)
        try:
            # What absurd weights come to is no matter of reading them.
            with np.errstate(all="ignore"):
                self.read(folder)
        except self.errors as error:
            str(error).encode()
            return False
        return True


def _write_policies(folder: Path) -> None:
    (folder / "policies.yaml").write_text(POLICIES, encoding="utf-8")


def _write_examples(folder: Path) -> None:
    (folder / "examples.jsonl").write_bytes(EXAMPLES.read_bytes())


def _read_examples(folder: Path) -> None:
    """What can be read can be written, and is then read as the same."""
    examples = read_examples(folder / "examples.jsonl")
    write_examples(folder / "again.jsonl", examples)
    assert read_examples(folder / "again.jsonl") == examples


def _write_bundle(folder: Path) -> None:
    """Write files that a manifest lists; what is in them does not matter to the manifest."""
    dimensions = ("layers", "hidden_size", "attention_heads", "key_value_heads", "head_size")
    empty = {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "bytes": 0}
    for name in ("model.onnx", "tokenizer.json"):
        (folder / name).touch()
    frame = [{"token": 1, "text": "<|im_start|>"}, {"text": "user\n"}, {"prompt": True, "stripped": True}]
    parity = ("max_error", "relative_error", "same_choice", "bound")
    manifest: Mapping[str, object] = {
        "schema_version": 1,
        "created_by": "archroute 0.1.0",
        "exporter": "archroute",
        "source": {"name": "a/model", "kind": "gguf", "digest": "sha256:00"},
        "model": {
            "family": "qwen2",
            **dict.fromkeys((*dimensions, "vocabulary_size", "maximum_positions"), 4),
        },
        "precision": "int8",
        "prompt": {
            "variant": "arch-router/model-card",
            "chat_frame": frame,
            "rendered_chat_frame": "<|im_start|>user\n{prompt}",
            "end_of_turn": 2,
        },
        "files": {"model.onnx": empty, "tokenizer.json": empty},
        "parity": {"reference": "numpy", "prompts": 3, "positions": 80, **dict.fromkeys(parity, 0.5)},
        "calibration": {
            "temperature": 1.5,
            "examples": 200,
            "fitted_on": "sha256:00",
            **dict.fromkeys(("loss_before", "loss_after", "error_before", "error_after"), 0.5),
            **dict.fromkeys(("precision", "min_probability", "coverage"), 0.5),
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _read_bundle(folder: Path) -> None:
    ChatFrame.from_json(open_bundle(folder).manifest.prompt.chat_frame)


def _write_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(tiny_tokenizer().to_str(), encoding="utf-8")


def _read_tokenizer(folder: Path) -> None:
    Tokenizer.from_file(folder / "tokenizer.json").encode("Please <|im_end|> fix 17 errors, Zoë\u0301\n")


def _write_gguf(folder: Path) -> None:
    write_tiny_gguf(folder / "model.gguf")


def _write_checkpoint(folder: Path) -> None:
    write_tiny_checkpoint(folder)


def _write_shards(folder: Path) -> None:
    write_tiny_checkpoint(folder, shards=2)


def _read_whole(checkpoint: Checkpoint) -> None:
    for name in checkpoint.tensor_names:
        checkpoint.tensor(name)
    checkpoint.chat_template()
    checkpoint.special_tokens()
    _ = checkpoint.end_of_turn


def _write_adapter(folder: Path) -> None:
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "rank_pattern": {},
        "alpha_pattern": {},
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{module}.lora_A.weight": np.ones((2, 64), np.float32),
        f"{module}.lora_B.weight": np.ones((64, 2), np.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors")


def _read_adapter(folder: Path) -> None:
    adapter = Adapter(folder)
    module = "model.layers.0.self_attn.q_proj"
    if adapter.changes(module):
        adapter.change(module)


def _read_request(folder: Path) -> None:
    request = parse(router_pb2.RouteRequest, (folder / REQUEST.file).read_bytes())
    read_question(request, POLICY_SETS)


def _nothing(_folder: Path) -> None:
    """A request needs no other files."""


REQUEST = Target(
    "request",
    "request",
    _nothing,
    _read_request,
    (InvalidRequest, MalformedRequest, NoDefaultPolicySet, PolicySetNotFound),
)

_CHECKPOINT = (CheckpointError,)


def _folder_target(file: str, prepare: Callable[[Path], None] = _write_checkpoint) -> Target:
    return Target(file, file, prepare, lambda folder: _read_whole(SafetensorsFolder(folder)), _CHECKPOINT)


TARGETS = {
    target.name: target
    for target in (
        REQUEST,
        Target(
            "policies.yaml",
            "policies.yaml",
            _write_policies,
            lambda folder: load_policy_sets(folder / "policies.yaml"),
            (PolicyFileError,),
        ),
        Target("examples.jsonl", "examples.jsonl", _write_examples, _read_examples, (ExampleFileError,)),
        Target("manifest.json", "manifest.json", _write_bundle, _read_bundle, (BundleError, ChatFrameError)),
        Target("tokenizer.json", "tokenizer.json", _write_tokenizer, _read_tokenizer, (TokenizerError,)),
        Target(
            "model.gguf",
            "model.gguf",
            _write_gguf,
            lambda folder: _read_whole(GgufFile(folder / "model.gguf")),
            _CHECKPOINT,
        ),
        _folder_target("model.safetensors"),
        _folder_target("model.safetensors.index.json", _write_shards),
        _folder_target("config.json"),
        _folder_target("tokenizer_config.json"),
        Target("adapter_config.json", "adapter_config.json", _write_adapter, _read_adapter, _CHECKPOINT),
        Target(
            "adapter_model.safetensors",
            "adapter_model.safetensors",
            _write_adapter,
            _read_adapter,
            _CHECKPOINT,
        ),
    )
}


def scratch_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder for one target; in memory where there is such a place, since each input is a file."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
