"""EngineProfile: the range of shapes that a TensorRT engine is built for.

One profile covers every bucket. TensorRT knows several for one engine, but ONNX Runtime's provider builds
them all and then runs on the first alone: an input of another one's range fails (microsoft/onnxruntime
#23965; pull request #31624, which lets it choose, is not in ONNX Runtime 1.31). So the kernels are chosen for
one shape, the optimum, and every other shape has to do with them.

A pass on top of nothing has a past of no tokens. TensorRT has no special rule for a dimension of length 0
("Working with Empty Tensors" in its developer guide), and ONNX Runtime's providers bind a byte that is not
read in the place of an input without elements; the one of TensorRT-RTX itself takes 0 as the least size of a
dimension that nobody gave it a range for. So the least `cached` is 0, and needs no engine of its own. That a
TensorRT of today keeps to it is not measured.

The other sizes begin at 1, below the smallest bucket: a session whose KV cache lies on the host pads to none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from archroute_server.bundle.manifest import ModelDimensions
from archroute_server.runtime.kv_cache import cache_names
from archroute_server.runtime.shape_buckets import Shape, ShapeBuckets

InputShapes = Mapping[str, tuple[int, ...]]
"""For each input of the graph its sizes."""

# A short conversation on top of the policies that were read before.
_TYPICAL = Shape(cached=350, new=220, rows=16, candidates=32)


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """The least shape, the one that kernels are chosen for, and the largest."""

    minimum: Shape
    optimum: Shape
    maximum: Shape

    @classmethod
    def of(cls, buckets: ShapeBuckets) -> "EngineProfile":
        """Return the profile that covers all of `buckets`, with a typical one as its optimum."""
        *_, maximum = buckets
        typical = Shape(
            min(_TYPICAL.cached, maximum.cached),
            min(_TYPICAL.new, maximum.new),
            min(_TYPICAL.rows, maximum.rows),
            min(_TYPICAL.candidates, maximum.candidates),
        )
        return cls(Shape(0, 1, 1, 1), buckets.fit(typical) or maximum, maximum)

    def input_shapes(self, model: ModelDimensions) -> dict[str, InputShapes]:
        """Return the sizes of every input at the "min", the "opt" and the "max" of the profile."""
        return {
            "min": input_shapes(self.minimum, model),
            "opt": input_shapes(self.optimum, model),
            "max": input_shapes(self.maximum, model),
        }


def input_shapes(shape: Shape, model: ModelDimensions) -> InputShapes:
    """Return the sizes of every input of a bundle's graph in a pass of `shape`.

    `archroute_export.graph.decoder` has the contract. Each input has a size that varies, so all are here, and
    no other: ONNX Runtime builds an engine anew, without a word, if the number of inputs in a profile is not
    that of the inputs that vary.
    """
    past = (1, model.key_value_heads, shape.cached, model.head_size)
    sizes: dict[str, tuple[int, ...]] = {
        "input_ids": (1, shape.new),
        "position_ids": (1, shape.new),
        "attention_bias": (1, 1, shape.new, shape.cached + shape.new),
        "select": (shape.rows,),
        "candidates": (shape.candidates,),
    }
    return sizes | dict.fromkeys(cache_names("past", model.layers), past)


def profile_text(shapes: InputShapes) -> str:
    """Write sizes as the providers read them: `input_ids:1x32,select:16`."""
    return ",".join(f"{name}:{'x'.join(map(str, sizes))}" for name, sizes in shapes.items())
