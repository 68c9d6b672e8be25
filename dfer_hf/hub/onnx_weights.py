"""Store the weights of ONNX graphs in fewer bytes; ONNX Runtime computes with single precision all the same."""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

# Smaller tensors are left as they are: biases, norms and settings.
_LEAST_VALUES = 1024


def shrink_weights(path: Path, kind: str) -> None:
    """Store the weights of a graph in another way, in place.

    Args:
        path: Of the graph.
        kind: "half" precision, which takes half of the bytes, or "int8", a quarter of them, with one scale for each
            output of a layer.
    """
    model = onnx.load(path)
    graph, stored, made = model.graph, [], []
    for tensor in graph.initializer:
        is_weight = tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= _LEAST_VALUES
        parts, nodes = (_as_half if kind == "half" else _as_int8)(tensor) if is_weight else ([tensor], [])
        stored += parts
        made += nodes
    nodes = [*made, *graph.node]
    for field, values in ((graph.initializer, stored), (graph.node, nodes)):
        del field[:]
        field.extend(values)
    onnx.save(model, path)


def _as_half(tensor: TensorProto) -> tuple[list[TensorProto], list[NodeProto]]:
    half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
    return [half], [_cast(half.name, tensor.name)]


def _as_int8(tensor: TensorProto) -> tuple[list[TensorProto], list[NodeProto]]:
    values = numpy_helper.to_array(tensor)
    # Kernels have their outputs first, and matrices, which rows are multiplied by, last.
    inputs = tuple(range(1, values.ndim)) if values.ndim > 2 else tuple(range(values.ndim - 1))
    sizes = np.abs(values).max(axis=inputs, keepdims=True) / 127
    sizes[sizes == 0] = 1
    steps = numpy_helper.from_array(np.rint(values / sizes).astype(np.int8), f"{tensor.name}_int8")
    scale, floats = numpy_helper.from_array(sizes, f"{tensor.name}_scale"), f"{tensor.name}_steps"
    return [steps, scale], [_cast(steps.name, floats), helper.make_node("Mul", [floats, scale.name], [tensor.name])]


def _cast(source: str, target: str) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT)
