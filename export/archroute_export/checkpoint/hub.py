"""Checkpoints on the Hugging Face hub."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.safetensors_folder import READ_FILES

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_INSTEAD = "A local folder with the same files works as well: archroute export FOLDER"


def is_hub_id(source: str) -> bool:
    """Say whether `source` looks like `owner/name`."""
    return _ID.fullmatch(source) is not None


def download(model: str) -> Path:
    """Fetch what a safetensors checkpoint needs and return its folder in the Hugging Face cache.

    Takes files that are in the cache already from there. Raises `CheckpointError` when the model does
    not exist, needs permission, or cannot be reached.
    """
    try:
        return Path(snapshot_download(model, allow_patterns=list(READ_FILES)))
    except GatedRepoError as error:  # before its base class, RepositoryNotFoundError
        raise CheckpointError(
            f"{model}: the model needs permission: ask for it on https://huggingface.co/{model}, then log in "
            f"with `hf auth login` or set HF_TOKEN. {_INSTEAD}"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{model}: there is no such model on the Hugging Face hub, or it is private: check the name, or "
            f"log in with `hf auth login` or set HF_TOKEN. {_INSTEAD}"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{model}: the Hugging Face hub cannot be reached and the model is not in its cache. {_INSTEAD}"
        ) from error
    except HFValidationError as error:
        raise CheckpointError(f"{model}: not a name on the Hugging Face hub: {error}") from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"{model}: the Hugging Face hub answers with an error: {error}") from error
    except Exception as error:
        # A full disk, or a connection lost halfway: the HTTP libraries of huggingface_hub 0.x (requests)
        # and of later ones (httpx) share no base class.
        raise CheckpointError(f"{model}: the download failed: {error}. {_INSTEAD}") from error
