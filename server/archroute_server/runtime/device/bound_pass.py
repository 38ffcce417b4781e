"""BoundPass: the inputs and outputs of forward passes of one shape, bound to a device's memory."""

import numpy as np
import onnxruntime as ort

from archroute_server.runtime.device.attention_bias import AttentionBias
from archroute_server.runtime.device.memory import DEVICE_ID, DeviceMemory, TokenBlock
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import cache_names
from archroute_server.runtime.shape_buckets import Shape


class BoundPass:
    """Runs forward passes in one shape, for as many as fit into it; every address stays the same.

    A smaller pass is padded. Its cached tokens stand at the end of the cached ones, directly before the new,
    so that they and the new ones are neighbours in what the graph writes:

                       past             new
                 ┌──────┬──────┬────────┬─────────┐
        present  │ zero │ past │  new   │ padding │
                 └──────┴──────┴────────┴─────────┘
        new rows    ·    as `Forward.visible`  ·
        padding     ·       ·       ·        ╲        each row sees itself: attention to nothing has no
                                                      meaning

    A hidden column gets the finite minus-infinity of the float type, so that no row is all but NaN. Padded
    rows are never selected, and padded columns of the logits are cut off.

    The inputs are written in memory of this process that is kept, and go to the device in two copies. They
    are bound once, so that the graph has to read them on the device: ONNX Runtime copies an input that is
    read elsewhere when it is bound. The memory of this process is not pinned: ONNX Runtime's Python allocates
    such memory only for providers that were registered as a library (`memory_info` of
    `OrtValue.ortvalue_from_shape_and_type`), which the CUDA provider of onnxruntime-gpu 1.31 is not.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        memory: DeviceMemory,
        shape: Shape,
        past: TokenBlock,
        present: TokenBlock,
        bias: AttentionBias,
        graph_id: int | None = None,
    ) -> None:
        """Bind a pass that reads `past`, of the shape's cached tokens, and writes `present`, of all.

        With a `graph_id`, a positive number that no other pass of the session has, the provider may capture
        the pass as a CUDA graph and replay it. Without one it is run as it is: `gpu_graph_id` -1, see
        onnxruntime_run_options_config_keys.h of ONNX Runtime.
        """
        self._session = session
        self.shape = shape
        self.captured = graph_id is not None
        self.past = past
        self.present = present
        # Lengths of what stands side by side in the array of integers.
        lengths = {
            "input_ids": shape.new,
            "position_ids": shape.new,
            "select": shape.rows,
            "candidates": shape.candidates,
        }
        stops = dict(zip(lengths, np.cumsum(list(lengths.values())).tolist(), strict=True))
        self._places = {name: slice(stop - lengths[name], stop) for name, stop in stops.items()}
        self._integers = np.zeros(sum(lengths.values()), np.int64)
        self._bias = bias
        self._device_integers = memory.array(self._integers.shape, np.int64)
        self._device_logits = memory.array((shape.rows, shape.candidates), np.float32)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", "-1" if graph_id is None else str(graph_id))
        self._binding = self._bind(memory)

    def run(self, forward: Forward) -> Floats:
        """Run a pass whose cached tokens end where `past` ends; return its logits `[M, C]`."""
        self._write(forward)
        self._session.run_with_iobinding(self._binding, self._options)
        logits: Floats = self._device_logits.numpy()
        # A copy, because on the CPU it is the memory that the next pass writes into.
        return logits[: len(forward.select), : len(forward.candidates)].copy()

    def _write(self, forward: Forward) -> None:
        self._integers.fill(0)
        for name, values in (
            ("input_ids", forward.token_ids),
            ("position_ids", forward.positions),
            ("select", forward.select),
            ("candidates", forward.candidates),
        ):
            self._integers[self._places[name]][: len(values)] = values
        self._device_integers.update_inplace(self._integers)
        self._bias.write(forward.visible)

    def _bind(self, memory: DeviceMemory) -> ort.IOBinding:
        binding = self._session.io_binding()
        device, float_type = memory.device, memory.float_type.type
        address = self._device_integers.data_ptr()
        for name, place in self._places.items():
            length = place.stop - place.start
            sizes = [1, length] if name.endswith("_ids") else [length]
            start = address + place.start * self._integers.itemsize
            binding.bind_input(name, device, DEVICE_ID, np.int64, sizes, start)
        binding.bind_ortvalue_input("attention_bias", self._bias.device)
        binding.bind_ortvalue_output("logits", self._device_logits)
        for bind, side, block in (
            (binding.bind_input, "past", self.past),
            (binding.bind_output, "present", self.present),
        ):
            sizes = memory.layer_sizes(block.tokens)
            for index, name in enumerate(cache_names(side, memory.arrays // 2)):
                start = block.address + index * memory.layer_nbytes(block.tokens)
                bind(name, device, DEVICE_ID, float_type, sizes, start)
        return binding
