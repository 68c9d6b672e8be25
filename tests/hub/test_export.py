import json
import stat

import pytest
import torch
from safetensors import safe_open

import dfer_hf
from dfer_hf.hub.export import export_checkpoint
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification


@pytest.fixture
def model(tmp_path):
    config = FrameResNetConfig(image_size=32, hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1])
    FrameResNetForVideoClassification(config).save_pretrained(tmp_path / "trained")
    return FrameResNetForVideoClassification.from_pretrained(tmp_path / "trained")


@pytest.fixture
def exported(model, tmp_path):
    folder = tmp_path / "deep" / "checkpoint"
    export_checkpoint(model, dfer_hf.DferVideoProcessor(do_grayscale=True), folder)
    return folder


def test_the_configuration_says_what_to_load_and_not_where_it_came_from(exported):
    text = (exported / "config.json").read_text(encoding="utf-8")
    config = json.loads(text)
    assert config["architectures"] == ["FrameResNetForVideoClassification"]
    assert config["model_type"] == "dfer_frame_resnet"
    assert config["dtype"] == "float32"
    assert config["group_names"] == ["positive", "neutral", "negative"]
    assert "_name_or_path" not in config
    assert "trained" not in text
    assert text.endswith("}\n")


def test_weights_are_half_and_counters_stay_whole(exported, model):
    with safe_open(exported / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        stored = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert set(stored) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert stored[name] == (torch.float16 if tensor.is_floating_point() else torch.int64), name
    assert stat.S_IMODE((exported / "model.safetensors").stat().st_mode) == 0o644


def test_the_processor_goes_along(exported):
    assert dfer_hf.DferVideoProcessor.from_pretrained(exported).do_grayscale is True


def test_the_model_stays_as_it_was(model, tmp_path):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_checkpoint(model, dfer_hf.DferVideoProcessor(), tmp_path / "checkpoint")
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_exporting_twice_writes_the_same(exported, model):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    export_checkpoint(model, dfer_hf.DferVideoProcessor(do_grayscale=True), exported)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
