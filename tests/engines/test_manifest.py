"""The plain JSON beside ONNX graphs, which any program may read and anybody may break."""

import json

import pytest

import dfer_hf
from dfer_hf.checkpoints import MANIFEST, CheckpointError
from dfer_hf.engines import AnswerRules, CropRules
from dfer_hf.engines.onnx_engine import read_manifest, write_manifest
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.video import Sampling


@pytest.fixture
def written(tmp_path):
    config = FrameResNetConfig(temperature=1.5, set_threshold=0.2, blendshape_names=["jawOpen"])
    processor = dfer_hf.DferVideoProcessor(frames_per_segment=2, low_light=True)
    write_manifest(tmp_path, AnswerRules.of(config), CropRules.of(processor), system="dfer_frame_resnet")
    return tmp_path


def test_everything_is_read_as_it_was_written(written):
    answers, crops = read_manifest(written)
    config = FrameResNetConfig()
    assert list(answers.label_names) == config.label_names
    assert {name: list(labels) for name, labels in answers.groups.items()} == config.groups
    assert list(answers.groups) == config.group_names
    assert list(answers.group_of_label) == config.group_of_label
    assert (answers.temperature, answers.set_threshold, answers.num_frames) == (1.5, 0.2, config.num_frames)
    assert answers.blendshape_names == ["jawOpen"]
    assert crops == CropRules("arcface_112", Sampling(8, 2), 4.0, True)


def change(folder, *place, value):
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    part = content
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("version",), 2, "version 2"),
        (("answers", "surprise"), 1, "surprise"),
        (("crops",), [], "AttributeError|TypeError"),
        (("crops", "sampling"), {"frames": 3}, "frames"),
    ],
)
def test_what_is_not_known_is_refused(written, place, value, said):
    change(written, *place, value=value)
    with pytest.raises(CheckpointError, match=rf"(?s)dfer export --onnx.*({said})"):
        read_manifest(written)


def test_a_missing_or_broken_file_is_named(written):
    (written / MANIFEST).write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=rf"{MANIFEST}, got JSONDecodeError"):
        read_manifest(written)
    (written / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match=rf"ONNX graphs and their {MANIFEST}.*dfer export --onnx MODEL FOLDER"):
        read_manifest(written)
