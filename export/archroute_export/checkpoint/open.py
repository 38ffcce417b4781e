"""From what a user names to a checkpoint."""

from collections.abc import Callable
from pathlib import Path

from archroute_export.checkpoint import embedded, hub
from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.gguf_file import MAGIC, GgufFile
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder

EMBEDDED = "embedded"

_CHOICES = (
    "a Hugging Face id such as katanemo/Arch-Router-1.5B, a checkpoint folder, a .gguf file, or "
    f"'{EMBEDDED}' for the small model that comes with archroute"
)


def open_checkpoint(source: str, announce: Callable[[str], None] = lambda line: None) -> Checkpoint:
    """Open a checkpoint, downloading it first if need be.

    Args:
        source: a folder or a `.gguf` file, if there is one of that name; `embedded` for the base of the
            embedded model; or a Hugging Face id. A folder called `embedded` is reached as `./embedded`.
        announce: told in one line what takes long, before it starts.

    Raises:
        CheckpointError: nothing of that name, or nothing that can be used.
    """
    if source == EMBEDDED:
        return GgufFile(embedded.fetch(announce=announce), name=embedded.MODEL.name)
    if not source:
        raise CheckpointError(f"no checkpoint is named. Name {_CHOICES}")
    path = Path(source).expanduser()
    if path.is_dir():
        return SafetensorsFolder(path)
    if path.is_file():
        return GgufFile(_gguf(path))
    if path.suffix == ".gguf" or source.startswith((".", "/", "~")) or not hub.is_hub_id(source):
        raise CheckpointError(f"{source}: there is no such file or folder. Name {_CHOICES}")
    announce(f"Fetching {source} from the Hugging Face hub, unless its cache has it")
    return SafetensorsFolder(hub.download(source), name=source)


def open_adapter(source: str) -> Adapter:
    """Open the adapter in the folder `source`, or the one that comes with archroute for `embedded`.

    Raises `CheckpointError`.
    """
    if source == EMBEDDED:
        return Adapter(embedded.ADAPTER, title=EMBEDDED)
    if not source:
        raise CheckpointError("no adapter is named. Name the folder that 'archroute finetune' or PEFT wrote")
    return Adapter(Path(source).expanduser())


def _gguf(path: Path) -> Path:
    """Refuse a file that is no GGUF file, saying what to name instead."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if magic == MAGIC:
        return path
    if path.suffix == ".safetensors" or path.name == "config.json":
        raise CheckpointError(f"{path}: name the folder that holds it: {path.parent}")
    raise CheckpointError(f"{path}: not a GGUF file. Name {_CHOICES}")
