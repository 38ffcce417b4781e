"""CacheCopies: cutting and joining keys and values where they lie, in the memory of a device.

ONNX Runtime's Python can copy a whole array from one place of a device to another, and no part of one. Two
graphs of one node each do it, Slice and Concat, on the device's own provider. They lie beside this file and
are written by `make graphs`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from archroute_server.runtime.device.memory import DEVICE_ID, WORD, DeviceMemory, TokenBlock
from archroute_server.runtime.inference_session import load_graph
from archroute_server.runtime.providers import PROVIDERS

GRAPHS = Path(__file__).with_name("graphs")
JOINED_AT_ONCE = 8
"""The inputs of the Concat; those that are not needed are bound to no tokens."""


class CacheCopies:
    """Copies tokens between blocks of one `DeviceMemory`. Each copy is done when the call returns.

    ONNX Runtime waits for the device at the end of a run, unless the run option
    `disable_synchronize_execution_providers` says otherwise, so that a block may be read by another session
    and freed at once.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        """Load the two graphs; raises `RuntimeLoadError`."""
        self._memory = memory
        # The device's own, whatever runs the model: TensorRT would build an engine for each size.
        copying = next(provider for provider in PROVIDERS if provider.name == memory.device)
        self._slice = load_graph(GRAPHS / "slice.onnx", copying, threads=1)
        self._concatenate = load_graph(GRAPHS / "concatenate.onnx", copying, threads=1)
        self._slice_binding = self._slice.io_binding()
        self._concatenate_binding = self._concatenate.io_binding()

    def slice(self, block: TokenBlock, start: int, stop: int) -> TokenBlock:
        """Copy the tokens from `start` up to `stop` into a block of their own."""
        target = self._memory.block(stop - start)
        if not target.tokens:
            return target
        binding = self._slice_binding
        # The operator reads its bounds on the CPU, wherever the data lie.
        for name, bound in (("start", start), ("stop", stop)):
            binding.bind_cpu_input(name, np.array([bound], np.int64))
        self._bind_input(binding, "tokens", block)
        self._bind_output(binding, target)
        self._slice.run_with_iobinding(binding)
        return target

    def concatenate(self, blocks: Sequence[TokenBlock]) -> TokenBlock:
        """Copy the tokens of all blocks into one block."""
        joined, rest = blocks[:JOINED_AT_ONCE], blocks[JOINED_AT_ONCE:]
        target = self._memory.block(sum(block.tokens for block in joined))
        self.concatenate_into(target, joined)
        return self.concatenate([target, *rest]) if rest else target

    def concatenate_into(self, target: TokenBlock, blocks: Sequence[TokenBlock]) -> None:
        """Copy the tokens of at most `JOINED_AT_ONCE` blocks into one that has as many tokens as they."""
        if not target.tokens:
            return
        binding = self._concatenate_binding
        empty = self._memory.block(0)
        for place in range(JOINED_AT_ONCE):
            self._bind_input(binding, f"part.{place}", blocks[place] if place < len(blocks) else empty)
        self._bind_output(binding, target)
        self._concatenate.run_with_iobinding(binding)

    def _bind_input(self, binding: ort.IOBinding, name: str, block: TokenBlock) -> None:
        sizes = self._memory.word_sizes(block.tokens)
        binding.bind_input(name, self._memory.device, DEVICE_ID, WORD.type, sizes, block.address)

    def _bind_output(self, binding: ort.IOBinding, block: TokenBlock) -> None:
        sizes = self._memory.word_sizes(block.tokens)
        binding.bind_output("copy", self._memory.device, DEVICE_ID, WORD.type, sizes, block.address)
