"""Go the whole way from videos to a card with every system: prepare, check, train, interrupt, resume, evaluate.

The clips are rendered from ICT-FaceKit, with portraits of the London Set and enlarged stills of FER+ beside them. The
figures show that all steps work together, and say nothing about people.
"""

import csv
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForVideoClassification

import dfer_hf
import training.cli
from dfer_hf.taxonomy import Emotion
from dfer_hf.video import write_video
from tests.shared_data import SHARED_DATA
from training.cache.prepared import PreparedClips
from training.synthetic.faces import FaceRenderer
from training.synthetic.ict_facekit import load_face_kit
from training.synthetic.render_clips import render_clip

from .runs import StoppedError, log_of, stop_after

EMOTIONS = (Emotion.HAPPINESS, Emotion.NEUTRAL, Emotion.SURPRISE)
CLIPS_OF_CLASS = {"train": 6, "test": 2}
RECIPE = """
system = "{system}"
preset = "tiny"
data = "folder"
stages = [[{image_size}, 2, 1.0]]
batch_size = 4
learning_rate = 1e-3
optimiser = "adamw"
gradient_clip = 5.0
validation_share = 0.25

[sampling]
num_segments = {num_frames}
frames_per_segment = 1

[augmentation]
crop_area = [0.8, 1.0]
"""

pytestmark = pytest.mark.slow


def enlarge(frames):
    """Add space around the face crop of a render, as in a camera's picture."""
    return np.stack([cv2.copyMakeBorder(frame, 60, 60, 60, 60, cv2.BORDER_REPLICATE) for frame in frames])


def write_stills_of_ferplus(folder, rows):
    archive = SHARED_DATA / "ferplus" / "valid.zip"
    with zipfile.ZipFile(archive) as file:
        names = [name for name in file.namelist() if name.endswith((".png", ".webp"))][:3]
        for name in names:
            grey = cv2.imdecode(np.frombuffer(file.read(name), np.uint8), cv2.IMREAD_GRAYSCALE)
            path = folder / f"still_{Path(name).stem}.png"
            cv2.imwrite(str(path), cv2.resize(grey, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC))
            rows.append((path.name, "neutral", "train", f"web{Path(name).stem}"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    kit = SHARED_DATA / "ict_facekit" / "ict_facekit.npz"
    for needed in (kit, SHARED_DATA / "london" / "images", SHARED_DATA / "ferplus" / "valid.zip"):
        if not needed.exists():
            pytest.skip(f"needs {needed.name} in the folder that DFER_SHARED_DATA names")
    root = tmp_path_factory.mktemp("corpus")
    renderer, rows = FaceRenderer(load_face_kit(kit)), []
    for part, count in CLIPS_OF_CLASS.items():
        for number in range(count * len(EMOTIONS)):
            generator = np.random.default_rng([number, count])
            emotion = EMOTIONS[number % len(EMOTIONS)]
            clip = render_clip(renderer, emotion, generator, num_frames=16)
            name = f"{part}_{number:02d}.webm"
            write_video(root / name, enlarge(clip.frames), frames_per_second=25)
            rows.append((name, str(emotion), part, f"render{part}{number}"))
    for portrait in sorted((SHARED_DATA / "london" / "images").glob("*.jpg"))[:4]:
        person, look = portrait.stem.split("_")[:2]
        (root / portrait.name).write_bytes(portrait.read_bytes())
        rows.append((portrait.name, {"smiling": "happy"}.get(look, look), "train", person))
    write_stills_of_ferplus(root, rows)
    (root / "broken.webm").write_bytes(b"no video")
    rows.append(("broken.webm", "surprise", "train", "nobody"))
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "label", "split", "person"), *rows])
    return root


def run(*words):
    return training.cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def cache(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    assert run("check", "folder", corpus) == 1  # one clip is broken
    run("prepare", "folder", corpus, "--output", folder / "crops", "--processes", 2)
    return folder / "crops"


def test_every_clip_is_prepared_and_the_broken_one_says_why(cache):
    prepared = PreparedClips(cache)
    assert prepared.record.detector == "mtcnn"
    assert set(prepared.errors) >= {"broken.webm"}
    # A face of 48 pixels may be missed.
    assert len(prepared.errors) <= 4, prepared.errors
    videos = [name for name in prepared.names if name.endswith(".webm")]
    assert len(videos) == sum(CLIPS_OF_CLASS.values()) * len(EMOTIONS)
    assert {prepared.num_frames(name) for name in videos} == {16}
    assert {prepared.num_frames(name) for name in prepared.names if name.endswith(".jpg")} == {1}


@pytest.mark.parametrize("system", sorted(dfer_hf.systems()))
def test_a_system_goes_the_whole_way(corpus, cache, tmp_path, monkeypatch, capsys, system):
    shape = dfer_hf.systems()[system].config_class.from_preset("tiny")
    recipe = tmp_path / f"{system}_folder.toml"
    recipe.write_text(
        RECIPE.format(system=system, image_size=shape.image_size, num_frames=shape.num_frames), encoding="utf-8"
    )
    options = ["--data-root", corpus, "--prepared", cache]
    assert run("train", recipe, *options, "--output", tmp_path / "whole") == 0
    with monkeypatch.context() as patched:
        stop_after(patched, len(log_of(tmp_path / "whole")) * 2 + 2)  # in the second epoch
        with pytest.raises(StoppedError):
            run("train", recipe, *options, "--output", tmp_path / "run")
    assert run("train", recipe, *options, "--output", tmp_path / "run") == 0
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    weights = [load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("run", "whole")]
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())

    capsys.readouterr()
    assert run("evaluate", tmp_path / "run", "folder", *options, "--figures") == 0
    results = json.loads((tmp_path / "run" / "evaluation" / "results.json").read_text(encoding="utf-8"))
    assert results["fine"]["count"] == CLIPS_OF_CLASS["test"] * len(EMOTIONS)
    assert 0 <= results["fine"]["uar"] <= 100
    assert (tmp_path / "run" / "evaluation" / "confusion.png").is_file()

    hub = tmp_path / "run" / "hub"
    assert "An expression is not an emotion" in (hub / "README.md").read_text(encoding="utf-8")
    model = AutoModelForVideoClassification.from_pretrained(hub, trust_remote_code=False)
    assert model.config.model_type == f"dfer_{system}"
