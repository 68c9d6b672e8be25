"""ONNX graphs of a few operators, written in a moment: anger is the brightness of a crop's upper left corner."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from dfer_hf.engines import AnswerRules, CropRules
from dfer_hf.engines.onnx_engine import CLIP, DECIDE, FRAMES, write_manifest
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.video import Sampling

NUM_FRAMES = 16
CORNER = 28
STRENGTH = 4.0


def write_small_graphs(folder, *, sees_frames_apart, takes_any_length):
    """Write the graphs of a system, of every frame in order where it takes any length."""
    config = FrameResNetConfig(num_frames=NUM_FRAMES)
    sampling = Sampling(NUM_FRAMES, 1, every_frame=takes_any_length)
    rules = AnswerRules.of(config)
    write_manifest(folder, rules, CropRules("arcface_112", sampling, 4.0, False), system="small")
    length = "frames" if takes_any_length else NUM_FRAMES
    if sees_frames_apart:
        _write(folder / FRAMES, _corner(axes=(1, 2)), [("crops", TensorProto.UINT8, ["n", 112, 112, 3])], ["encoded"])
        clips = ("encoded", TensorProto.FLOAT, ["clips", length, 1])
        _write(folder / CLIP, _answers(rules), [clips], ["fine", "coarse", "frame_fine", "frame_weights"])
    else:
        clips = ("crops", TensorProto.UINT8, ["clips", length, 112, 112, 3])
        nodes = [*_corner(axes=(2, 3)), *_answers(rules)]
        _write(folder / CLIP, nodes, [clips], ["fine", "coarse", "frame_fine", "frame_weights"])
    rows = ("rows", TensorProto.FLOAT, ["n", len(rules.label_names)])
    chosen = helper.make_node("ArgMax", ["rows"], ["class"], axis=-1, keepdims=0)
    _write(folder / DECIDE, [chosen], [rows], ["class"], kind=TensorProto.INT64)


def _constant(name, values, dtype=np.float32):
    tensor = numpy_helper.from_array(np.array(values, dtype=dtype), name)
    return helper.make_node("Constant", [], [name], value=tensor)


def _corner(axes):
    """From crops to the brightness of their corners, `(..., 1)`."""
    return [
        _constant("starts", [0, 0], np.int64),
        _constant("ends", [CORNER, CORNER], np.int64),
        _constant("axes", axes, np.int64),
        _constant("white", 255),
        helper.make_node("Slice", ["crops", "starts", "ends", "axes"], ["corner"]),
        helper.make_node("Cast", ["corner"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[*axes, axes[-1] + 1], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["brightness"]),
        _constant("last", [-1], np.int64),
        helper.make_node("Unsqueeze", ["brightness", "last"], ["encoded"]),
    ]


def _answers(rules):
    """From brightness `(clips, frames, 1)` to probabilities, by the mean over the frames."""
    towards = [[STRENGTH * (label == "anger") for label in rules.label_names]]
    membership = np.eye(len(rules.groups))[rules.group_of_label]
    return [
        _constant("towards", towards),
        _constant("membership", membership),
        _constant("nothing", 0),
        helper.make_node("MatMul", ["encoded", "towards"], ["frame_logits"]),
        helper.make_node("Softmax", ["frame_logits"], ["frame_fine"], axis=-1),
        helper.make_node("ReduceMean", ["frame_logits"], ["logits"], axes=[1], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["fine"], axis=-1),
        helper.make_node("MatMul", ["fine", "membership"], ["coarse"]),
        helper.make_node("ReduceMean", ["encoded"], ["flat"], axes=[2], keepdims=0),
        helper.make_node("Mul", ["flat", "nothing"], ["even"]),
        helper.make_node("Softmax", ["even"], ["frame_weights"], axis=-1),
    ]


def _write(path, nodes, inputs, outputs, kind=TensorProto.FLOAT):
    values = [helper.make_tensor_value_info(*entry) for entry in inputs]
    results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph(nodes, path.stem, values, results)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
