"""What is read of a pickle: tensors by name, whatever lies beside them, and nothing that would run."""

import argparse
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dfer_hf.convert.convert_pickle import NotTensorsError, read_tensors

STATE = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def save(content, name="model.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


def assert_same(found):
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "best_acc": torch.tensor(0.5), "optimizer": {"state": {}}},
        {"model": {f"module.{name}": tensor for name, tensor in STATE.items()}},
        {"state_dict": STATE, "args": argparse.Namespace(lr=0.1, gpu_ids=[0])},
    ],
    ids=["alone", "with an optimiser", "of DataParallel", "with options"],
)
def test_the_tensors_are_found(saved, content):
    assert_same(read_tensors(saved(content)))


def test_former_dfers_recorder_is_passed_over(saved, monkeypatch):
    recorder = type("RecorderMeter", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "RecorderMeter", recorder, raising=False)
    kept = recorder()
    kept.epoch_losses, kept.total = np.ones((3, 2), dtype=np.float32), np.float64(3)
    file = saved({"state_dict": STATE, "recorder": kept})
    monkeypatch.undo()
    assert_same(read_tensors(file))


def test_safetensors_are_read_too(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    assert_same(read_tensors(tmp_path / "model.safetensors"))


def test_code_does_not_run(saved, tmp_path):
    file = saved({"state_dict": STATE, "extra": Evil()})
    with pytest.raises(NotTensorsError, match=r"posix\.mkdir, which may run code.*save its `state_dict` alone"):
        read_tensors(file)
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_refused_by_the_name_of_its_class(saved):
    with pytest.raises(NotTensorsError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_tensors(saved(torch.nn.Linear(2, 3)))


def test_other_files_are_refused(tmp_path, saved):
    contents = {
        "empty.pth": b"",
        "text.pth": b"no checkpoint\n" * 9,
        "plain.pth": pickle.dumps({"a": 1}),
        "cut.pth": saved(STATE).read_bytes()[:200],
        "cut.safetensors": b"12345",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NotTensorsError, match="Expected"):
            read_tensors(tmp_path / name)
    for content in ([1, 2], {}, {"epoch": 3}, {"fc": "text"}):
        with pytest.raises(NotTensorsError, match="Expected tensors by name"):
            read_tensors(saved(content))
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "missing.pth")
