"""Which engine is asked for, before anything is loaded."""

import subprocess
import sys

import pytest

import dfer_hf
from dfer_hf.checkpoints import CheckpointError


def test_an_unknown_engine_is_refused(tiny_checkpoint):
    with pytest.raises(ValueError, match="one of torch, onnx, got 'tensorrt'"):
        dfer_hf.VideoPredictor.from_pretrained(tiny_checkpoint, engine="tensorrt")


def test_a_checkpoint_without_graphs_is_refused(tiny_checkpoint):
    with pytest.raises(CheckpointError, match=r"graphs and their onnx\.json in the folder 'tiny'.*dfer export --onnx"):
        dfer_hf.VideoPredictor.from_pretrained(tiny_checkpoint, engine="onnx")


def test_a_shipped_checkpoint_without_graphs_is_said_to_be_exported_first(dfer, clips):
    code, _, error = dfer("predict", clips / "short.webm", "--engine", "onnx", "--model", "dfer-aen-small", model=None)
    assert code == 2
    assert "dfer export --onnx" in error


def test_what_answers_without_torch_imports_neither_it_nor_transformers():
    code = (
        "import dfer_hf.predict_command, dfer_hf.engines.onnx_engine, sys\n"
        "print(*{'torch', 'torchvision', 'transformers', 'facenet_pytorch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
