"""GraphBuilder: emits ONNX nodes under readable names and keeps the weights lazy."""

from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

# opset 23 brings Attention, RotaryEmbedding and RMSNormalization.
OPSET = 23
MICROSOFT = "com.microsoft"

Attribute = int | float | str | Sequence[int]


class GraphBuilder:
    """Collects nodes and initializers of one graph.

    A node's name is the path of what it belongs to and its operator, for example
    `layers.3/attention/qkv/MatMul`, so that a profile of the graph reads like the model.
    Weights are given as functions and evaluated one at a time while they are written.
    """

    def __init__(self) -> None:
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}
        self._names: set[str] = set()

    def op(
        self,
        name: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        outputs: int = 1,
        domain: str = "",
    ) -> tuple[ir.Value, ...]:
        """Emit one node named `<name>/<op_type>` and return its outputs."""
        path = f"{name}/{op_type}"
        if path in self._names:
            raise ValueError(f"two nodes are called {path}")
        self._names.add(path)
        node = ir.node(op_type, inputs, attributes=attributes, domain=domain, num_outputs=outputs, name=path)
        for index, value in enumerate(node.outputs):
            value.name = path if outputs == 1 else f"{path}.{index}"
        self._nodes.append(node)
        return tuple(node.outputs)

    def one(
        self,
        name: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        domain: str = "",
    ) -> ir.Value:
        """Emit a node with one output and return that output."""
        return self.op(name, op_type, inputs, attributes, domain=domain)[0]

    def weight(
        self,
        name: str,
        make: Callable[[], npt.NDArray[np.generic]],
        dtype: ir.DataType,
        shape: Sequence[int],
    ) -> ir.Value:
        """Declare an initializer whose values `make` gives when they are written."""

        def evaluate() -> ir.TensorProtocol:
            array = make()
            if array.shape != tuple(shape):
                raise ValueError(f"{name}: declared {tuple(shape)}, made {array.shape}")
            return _Weight(np.ascontiguousarray(array), dtype=dtype, name=name)

        if name in self._initializers:
            raise ValueError(f"two initializers are called {name}")
        tensor = ir.LazyTensor(evaluate, dtype=dtype, shape=ir.Shape(shape), name=name)
        value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(dtype), const_value=tensor)
        self._initializers[name] = value
        return value

    def constant(self, values: npt.ArrayLike, dtype: ir.DataType) -> ir.Value:
        """Return an initializer holding a small constant; equal constants are one initializer."""
        array = np.asarray(values, dtype=dtype.numpy())
        name = f"constant/{dtype.name.lower()}/{array.ndim}d/{'_'.join(str(item) for item in array.ravel())}"
        if name not in self._initializers:
            tensor = ir.Tensor(array, dtype=dtype, name=name)
            self._initializers[name] = ir.Value(
                name=name, shape=tensor.shape, type=ir.TensorType(dtype), const_value=tensor
            )
        return self._initializers[name]

    def finish(self, name: str, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
        """Return the model; nodes were emitted in topological order."""
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=self._nodes,
            initializers=list(self._initializers.values()),
            opset_imports={"": OPSET, MICROSOFT: 1},
            name=name,
        )
        return ir.Model(graph, ir_version=11, producer_name="archroute")


class _Weight(ir.Tensor[npt.NDArray[np.generic]]):
    """Reports a full disk as one when it is written, where `numpy.ndarray.tofile` gives no error number."""

    def tofile(self, file: BinaryIO) -> None:
        """Write the bytes of the array, which is contiguous."""
        file.write(self.numpy().data)
