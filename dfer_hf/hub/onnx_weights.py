"""Store the weights of ONNX graphs in fewer bytes; ONNX Runtime computes with single precision all the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

MOST_DIFFERENCE = {"single": 1e-4, "half": 1e-2, "int8": 0.1}
"""Ways to store weights, and how far a probability, a weight or a movement may be from torch's with each.

Half precision takes half of the bytes, and eight bits, with one scale for each output of a layer, take a quarter.
Answers to noise, by which graphs are compared, differ more than those to faces.
"""

# Smaller tensors are left as they are: biases, norms and settings.
_LEAST_VALUES = 1024


def shrink_weights(path: Path, kind: str) -> None:
    """Store the weights of a graph in another way, in place.

    Args:
        path: Of the graph.
        kind: One of `MOST_DIFFERENCE`.
    """
    import onnx

    if kind == "single":
        return
    model = onnx.load(path)
    graph, stored, made = model.graph, [], []
    for tensor in graph.initializer:
        is_weight = tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= _LEAST_VALUES
        parts, nodes = (_as_half if kind == "half" else _as_int8)(tensor) if is_weight else ([tensor], [])
        stored += parts
        made += nodes
    nodes = [*made, *graph.node]
    for field, values in ((graph.initializer, stored), (graph.node, nodes)):
        del field[:]
        field.extend(values)
    onnx.save(model, path)


def _as_half(tensor: "TensorProto") -> "tuple[list[TensorProto], list[NodeProto]]":
    half = _named(f"{tensor.name}_half", _values(tensor).astype(np.float16))
    return [half], [_cast(half.name, tensor.name)]


def _as_int8(tensor: "TensorProto") -> "tuple[list[TensorProto], list[NodeProto]]":
    from onnx import helper

    values = _values(tensor)
    # Kernels have their outputs first, and matrices, which rows are multiplied by, last.
    inputs = tuple(range(1, values.ndim)) if values.ndim > 2 else tuple(range(values.ndim - 1))
    scale = np.abs(values).max(axis=inputs, keepdims=True) / 127
    scale[scale == 0] = 1
    steps = _named(f"{tensor.name}_int8", np.rint(values / scale).astype(np.int8))
    scale, floats = _named(f"{tensor.name}_scale", scale), f"{tensor.name}_steps"
    return [steps, scale], [_cast(steps.name, floats), helper.make_node("Mul", [floats, scale.name], [tensor.name])]


def _values(tensor: Any) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def _named(name: str, values: np.ndarray) -> "TensorProto":
    from onnx import numpy_helper

    return numpy_helper.from_array(values, name)


def _cast(source: str, target: str) -> "NodeProto":
    from onnx import TensorProto, helper

    return helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT)
