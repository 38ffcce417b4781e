"""A checkpoint with an adapter merged into it."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from archroute_export.checkpoint.adapter import Adapter
from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.digest import Progress


class AdaptedCheckpoint(Checkpoint):
    """Its base, except that the projections' weights have the adapter's changes added as they are read."""

    def __init__(self, base: Checkpoint, adapter: Adapter) -> None:
        """Raises `CheckpointError` if the adapter is of a model of another shape."""
        adapter.check(base.shape, base.name)
        super().__init__(base.name, base.title, base.shape)
        self.kind = base.kind
        self.base = base
        self.adapter = adapter

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """Read one tensor as C-contiguous float32; weights are `[out, in]`. The caller owns the copy."""
        tensor = self.base.tensor(name)
        module = name.removesuffix(".weight")
        if module != name and self.adapter.changes(module):
            tensor += self.adapter.change(module)
        return tensor

    def tokenizer_json(self) -> str:
        """Return the base's tokenizer."""
        return self.base.tokenizer_json()

    def chat_template(self) -> str | None:
        """Return the base's chat template."""
        return self.base.chat_template()

    def special_tokens(self) -> Mapping[str, str]:
        """Return the base's special tokens."""
        return self.base.special_tokens()

    def _read_digest(self, progress: Progress | None) -> str:
        """Return what `printf '%s\\n' BASE ADAPTER | sha256sum` says of the two digests."""
        listing = f"{self.base.compute_digest(progress)}\n{self.adapter.digest}\n"
        return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"

    def _end_of_text_ids(self) -> Sequence[int]:
        return self.base._end_of_text_ids()
