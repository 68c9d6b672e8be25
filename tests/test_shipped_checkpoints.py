"""The checkpoints that ship: small, safe, and right on the plainest faces."""

import json
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoVideoProcessor

import dfer_hf
from dfer_hf.checkpoints import RENAMED, find_checkpoint
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from dfer_hf.models.modeling_former_dfer import FormerDferForVideoClassification
from dfer_hf.models.modeling_nr_dfernet import NrDfernetForVideoClassification

FOLDERS = dfer_hf.shipped_checkpoints()
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def predictor(request):
    return dfer_hf.VideoPredictor.from_pretrained(request.param)


def group_of_smiles(predictor):
    """Positive, but for CFC-SP, whose happiness is a group of its own."""
    return next(group for group, labels in predictor.model.config.groups.items() if "happiness" in labels)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_weights_are_half_precision_under_thirty_megabytes_and_load_as_single(name):
    weights = FOLDERS[name] / "model.safetensors"
    assert weights.stat().st_size < 30e6
    with safe_open(weights, framework="pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118  not a dictionary
    assert kinds == {torch.float16, torch.int64}
    assert json.loads((FOLDERS[name] / "config.json").read_text(encoding="utf-8"))["dtype"] == "float32"


def test_a_smiling_portrait_is_happy_and_positive(predictor, tmp_path):
    path = tmp_path / "portrait.png"
    cv2.imwrite(str(path), cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR))
    face = predictor(path).faces[0]
    assert face.fine.label == "happiness"
    assert face.coarse.label == group_of_smiles(predictor)
    assert face.frames[0].fine.label == "happiness"


def test_a_grave_portrait_is_not_happy(predictor, tmp_path):
    path = tmp_path / "portrait.png"
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        bgr = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(path), bgr)
    assert predictor(path).faces[0].coarse.label != group_of_smiles(predictor)


def test_a_loose_a_tight_a_grey_and_a_dark_picture_of_a_smile_agree(predictor, tmp_path):
    portrait = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    grey = cv2.cvtColor(cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    pictures = {
        "loose": cv2.copyMakeBorder(portrait, 200, 200, 200, 200, cv2.BORDER_CONSTANT),
        "tight": portrait[40:190, 150:290],
        "grey": grey,
        "dark": (portrait * 0.5).astype(np.uint8),
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    labels = {name: predictor(tmp_path / f"{name}.png").faces[0].fine.label for name in pictures}
    assert set(labels.values()) == {"happiness"}, labels


def test_the_frames_of_the_example_follow_the_smile_and_the_cover(predictor):
    face = predictor(ROOT / "examples" / "astronaut.webm").faces[0]
    happiness = np.array([frame.fine.probabilities["happiness"] for frame in face.frames if frame.fine])
    assert happiness.max() > 0.7
    # These also see what is beside a frame: in snippets, over eight seconds, and in the whole clip.
    look_around = NrDfernetForVideoClassification | CfcSpForVideoClassification | FormerDferForVideoClassification
    assert isinstance(predictor.model, look_around) or happiness.min() < 0.5


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_system_reads_a_video_as_its_paper_says(name):
    config = AutoConfig.from_pretrained(FOLDERS[name])
    processor = AutoVideoProcessor.from_pretrained(FOLDERS[name])
    assert processor.every_frame == dfer_hf.systems()[config.model_type.removeprefix("dfer_")].reads_every_frame


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_name_says_the_model_type(name):
    model_type = AutoConfig.from_pretrained(FOLDERS[name]).model_type
    assert name == f"{model_type.replace('_', '-')}-small"


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_name_of_the_last_version_still_works_and_says_the_new_one(old, new):
    with pytest.warns(FutureWarning, match=f"{old} is now called {new}"):
        assert find_checkpoint(old) == str(FOLDERS[new])
