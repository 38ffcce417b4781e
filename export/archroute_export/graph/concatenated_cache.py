"""The same graph with the KV cache beside attention, for runtimes whose Attention takes no cache.

    before    query, key, value, past key, past value ─ Attention ─ output, present key, present value

    after     key ─ heads apart ─ Concat ─┬─ present key
              past key ─────────────┘     └─ Attention ─ heads together ─ output
              query ─ heads apart ──────────┘   │
              (value as key) ───────────────────┘

TensorRT reads the second alone: "TensorRT only supports Attention nodes with one output",
https://github.com/NVIDIA/TensorRT/issues/4738. The contract of inputs and outputs stays the same.
"""

import numpy as np
import onnx_ir as ir


def concatenate_cache(model: ir.Model) -> None:
    """Rewrite every Attention of a graph of `build_decoder`, in place."""
    for node in list(model.graph):
        if node.op_type == "Attention":
            _Rewriting(model.graph, node).run()


class _Rewriting:
    """Replaces one Attention, and names what it adds after it."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph = graph
        self._node = node
        self._added: list[ir.Node] = []

    def run(self) -> None:
        node = self._node
        query, key, value, bias, past_key, past_value = node.inputs
        output, present_key, present_value = node.outputs
        heads, key_value_heads = (node.attributes[name].as_int() for name in ("q_num_heads", "kv_num_heads"))
        keys = self._grown("key", key, past_key, key_value_heads, present_key)
        values = self._grown("value", value, past_value, key_value_heads, present_value)
        # The numbers of heads are for inputs that do not have them apart.
        attributes = [node.attributes[name] for name in ("scale", "softmax_precision")]
        apart = self._apart("query", query, heads)
        mixed = self._add("Attention", "", [apart, keys, values, bias], attributes)
        together = self._transposed("output", mixed)
        sizes = self._constant([0, 0, -1])
        result = self._add("Reshape", "output", [together, sizes])
        self._replace(output, result)
        self._graph.insert_after(node, self._added)
        self._graph.remove(node, safe=True)

    def _grown(
        self, part: str, new: ir.Value | None, past: ir.Value | None, heads: int, present: ir.Value
    ) -> ir.Value:
        """Return the present keys or values `[1, key_value_heads, P + N, head_size]`."""
        grown = self._add("Concat", part, [past, self._apart(part, new, heads)], [ir.AttrInt64("axis", 2)])
        self._replace(present, grown)
        return grown

    def _apart(self, part: str, states: ir.Value | None, heads: int) -> ir.Value:
        """Return `[1, N, heads * head_size]` as `[1, heads, N, head_size]`."""
        reshaped = self._add("Reshape", part, [states, self._constant([0, 0, heads, -1])])
        return self._transposed(part, reshaped)

    def _transposed(self, part: str, states: ir.Value) -> ir.Value:
        """Swap tokens and heads."""
        return self._add("Transpose", part, [states], [ir.AttrInt64s("perm", [0, 2, 1, 3])])

    def _add(
        self,
        operator: str,
        part: str,
        inputs: list[ir.Value | None],
        attributes: list[ir.Attr] | None = None,
    ) -> ir.Value:
        name = "/".join(filter(None, [str(self._node.name), part, operator]))
        added = ir.Node("", operator, inputs, attributes or [], name=name)
        added.outputs[0].name = name
        self._added.append(added)
        return added.outputs[0]

    def _constant(self, values: list[int]) -> ir.Value:
        name = f"constant/sizes/{'_'.join(map(str, values))}"
        if name not in self._graph.initializers:
            tensor = ir.Tensor(np.array(values, np.int64), name=name)
            value = ir.Value(
                name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            self._graph.initializers[name] = value
        return self._graph.initializers[name]

    def _replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let whatever read the old value read the new one, under its name."""
        name = old.name
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        old.name = f"{name}/before"
        new.name, new.type, new.shape = name, old.type, old.shape
