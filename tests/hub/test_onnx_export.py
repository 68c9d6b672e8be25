"""`dfer export --onnx`: graphs of every system that say what torch says, and the networks that find faces."""

import json

import numpy as np
import onnx
import pytest
import torch

import dfer_hf
from dfer_hf.checkpoints import MANIFEST
from dfer_hf.engines.onnx_engine import CLIP, DECIDE, FRAMES, MTCNN, Graph, OnnxEngine, mtcnn_detector
from dfer_hf.engines.torch_engine import TorchEngine
from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.hub import onnx_export
from dfer_hf.hub.onnx_export import OnnxExportError, export_onnx
from dfer_hf.hub.onnx_graphs import _Pixels
from dfer_hf.hub.onnx_weights import shrink_weights

BATCHES = (1, 2, 5)


def tiny(system):
    """A tiny model of crops as they are cut out, with other answers for other crops, and its processor."""
    model_class = dfer_hf.systems()[system]
    fields = {"image_size": 112}
    if system == "cfc_sp":
        fields["net_image_sizes"] = {"swin": 48, "iresnet": 112, "hrnet": 112, "repvgg": 112, "resnet": 112}
    config = model_class.config_class.from_preset("tiny", **fields)
    torch.manual_seed(0)
    processor = dfer_hf.DferVideoProcessor(num_frames=config.num_frames, every_frame=model_class.reads_every_frame)
    return model_class(config), processor


def crops(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("system", dfer_hf.systems())
def test_graphs_of_every_system_answer_batches_of_any_size_as_torch_does(system, tmp_path):
    model, processor = tiny(system)
    files = export_onnx(model, processor, tmp_path / "onnx")
    names = {CLIP, DECIDE, MANIFEST, *MTCNN, *([FRAMES] if model.sees_frames_apart else [])}
    assert {file.name for file in files} == names == {path.name for path in (tmp_path / "onnx").iterdir()}
    expected, graphs = TorchEngine(model, processor), OnnxEngine(tmp_path / "onnx")
    for batch in BATCHES:
        clips = [crops(model.config.num_frames, seed) for seed in range(batch)]
        own, of_torch = graphs.answer(clips), expected.answer(clips)
        for name in ("fine", "coarse", "frame_fine", "frame_weights", "movements"):
            np.testing.assert_allclose(getattr(own, name), getattr(of_torch, name), atol=1e-4, err_msg=name)
    images = [crops(1)[0], np.tile(crops(1, seed=1)[0], (3, 2, 1))]
    for own, of_torch in zip(
        mtcnn_detector(tmp_path / "onnx").detect(images), MtcnnFaceDetector().detect(images), strict=True
    ):
        assert len(own) == len(of_torch)
    credit = {entry.key: entry.value for entry in onnx.load(tmp_path / "onnx" / MTCNN[0]).metadata_props}
    assert "facenet-pytorch" in credit["credit"]
    assert "facenet-pytorch" in json.loads((tmp_path / "onnx" / MANIFEST).read_text(encoding="utf-8"))["credit"]


@pytest.mark.parametrize(("kind", "most_bytes"), [("half", 0.55), ("int8", 0.3)])
def test_weights_take_fewer_bytes_and_answers_hardly_change(kind, most_bytes, tmp_path):
    generator, paths = np.random.default_rng(0), [tmp_path / "whole.onnx", tmp_path / "small.onnx"]
    maps = generator.normal(size=(4, 3, 28, 28)).astype(np.float32)
    weights = {"kernels": (64, 3, 7, 7), "matrix": (64 * 4 * 4, 32)}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["maps", "kernels"], ["seen"], strides=[7, 7]),
            onnx.helper.make_node("Flatten", ["seen"], ["rows"]),
            onnx.helper.make_node("MatMul", ["rows", "matrix"], ["answers"]),
        ],
        "two layers",
        [onnx.helper.make_tensor_value_info("maps", onnx.TensorProto.FLOAT, maps.shape)],
        [onnx.helper.make_tensor_value_info("answers", onnx.TensorProto.FLOAT, (4, 32))],
        [
            onnx.numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    for path in paths:
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8), path)
    shrink_weights(paths[1], kind)
    assert paths[1].stat().st_size < most_bytes * paths[0].stat().st_size
    expected, own = (Graph(path, num_threads=1)(maps)[0] for path in paths)
    assert 0 < np.abs(own - expected).max() < 0.02 * np.abs(expected).max()


def test_what_differs_from_torch_is_not_kept(tmp_path, monkeypatch):
    model, processor = tiny("frame_resnet")
    monkeypatch.setattr(onnx_export, "write_graph", lambda *unused, **also_unused: None)
    monkeypatch.setattr(onnx_export, "OnnxEngine", lambda _folder: _Liar(model, processor))
    with pytest.raises(OnnxExportError, match="fine of 1 clips from ONNX Runtime as from torch"):
        export_onnx(model, processor, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


class _Liar(TorchEngine):
    def answer(self, clips):
        found = super().answer(clips)
        return type(found)(found.fine + 2e-4, *(getattr(found, name) for name in list(found.__dict__)[1:]))


@pytest.mark.skipif(
    not any(name in torch.backends.cpu.get_cpu_capability() for name in ("AVX2", "AVX512")),
    reason="torch rounds once on this processor, not after rows and after columns",
)
@pytest.mark.parametrize("side", [48, 56, 64, 80, 150, 224])
def test_graphs_resize_as_the_processor_does(side):
    processor = dfer_hf.DferVideoProcessor(size={"height": side, "width": side}, do_grayscale=True)
    clip = np.concatenate([crops(4), np.zeros((1, 112, 112, 3), np.uint8), np.full((1, 112, 112, 3), 255, np.uint8)])
    expected = processor(clip, input_data_format="channels_last", return_tensors="pt")["pixel_values_videos"][0]
    assert torch.equal(_Pixels(processor)(torch.from_numpy(clip)), expected)


@pytest.mark.slow
def test_a_system_of_smaller_pictures_answers_as_torch_does(tmp_path):
    config = dfer_hf.systems()["frame_resnet"].config_class.from_preset("tiny", image_size=56)
    torch.manual_seed(0)
    model = dfer_hf.systems()["frame_resnet"](config)
    processor = dfer_hf.DferVideoProcessor(num_frames=config.num_frames, size={"height": 56, "width": 56})
    export_onnx(model, processor, tmp_path / "onnx")
    clip = crops(config.num_frames)
    own, expected = OnnxEngine(tmp_path / "onnx").answer([clip]), TorchEngine(model, processor).answer([clip])
    np.testing.assert_allclose(own.fine, expected.fine, atol=1e-4)


def test_a_processor_that_resizes_otherwise_is_refused(tmp_path):
    model, _ = tiny("frame_resnet")
    with pytest.raises(OnnxExportError, match="got do_resize=True and resample=3"):
        export_onnx(model, dfer_hf.DferVideoProcessor(resample=3), tmp_path)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds thesis\.tex"):
        export_onnx(*tiny("frame_resnet"), tmp_path)


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named(tmp_path, monkeypatch, library):
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(ImportError, match=rf'needs {library}.*pip install "dfer-hf\[onnx-export\]"'):
        export_onnx(*tiny("frame_resnet"), tmp_path)
