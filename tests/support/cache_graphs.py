"""The graphs that cut and join keys and values on a device. `make graphs` writes them, a test compares them.

They lie in the server, which has no library to write graphs: see `cache_copies` there.
"""

import onnx_ir as ir

from archroute_server.runtime.device.cache_copies import GRAPHS, JOINED_AT_ONCE

# The oldest in which both operators are what they are in newer ones, and its IR version.
OPSET, IR_VERSION = 13, 8
TOKENS_AXIS = 2


def graphs() -> dict[str, bytes]:
    """Return every graph by its file's name."""
    return {"slice.onnx": _slice(), "concatenate.onnx": _concatenate()}


def _slice() -> bytes:
    """Copy the tokens from `start` up to `stop`."""
    tokens, copy = _block("tokens", "P"), _block("copy", "N")
    bounds = [_integers("start"), _integers("stop")]
    axis = _integers("axis")
    axis.const_value = ir.tensor([TOKENS_AXIS], ir.DataType.INT64, name="axis")
    node = ir.Node("", "Slice", [tokens, *bounds, axis], outputs=[copy], name="slice")
    return _serialized("slice", [tokens, *bounds], node, [axis])


def _concatenate() -> bytes:
    """Join the tokens of several blocks, any of which may be empty."""
    parts = [_block(f"part.{place}", f"P{place}") for place in range(JOINED_AT_ONCE)]
    axis = ir.AttrInt64("axis", TOKENS_AXIS)
    node = ir.Node("", "Concat", parts, [axis], outputs=[_block("copy", "N")], name="concatenate")
    return _serialized("concatenate", parts, node, [])


def _block(name: str, tokens: str) -> ir.Value:
    sizes = ir.Shape(["arrays", "heads", tokens, "words"])
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.INT32), shape=sizes)


def _integers(name: str) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]))


def _serialized(name: str, inputs: list[ir.Value], node: ir.Node, constants: list[ir.Value]) -> bytes:
    graph = ir.Graph(
        inputs,
        node.outputs,
        nodes=[node],
        initializers=constants,
        opset_imports={"": OPSET},
        name=name,
    )
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="archroute")
    return ir.to_proto(model).SerializeToString(deterministic=True)


if __name__ == "__main__":
    GRAPHS.mkdir(exist_ok=True)
    for file, graph in graphs().items():
        (GRAPHS / file).write_bytes(graph)
