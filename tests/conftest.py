"""Tiny real objects that tests share: clips of a portrait, and a predictor with a small random model."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch

import dfer_cli
import dfer_hf
from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from dfer_hf.video import write_video

ROOT = Path(__file__).resolve().parent.parent
DFER = (sys.executable, "-c", "import dfer_start; dfer_start.run()")
"""The command, in a process of its own."""

FRAMES_PER_SECOND = 10.0
WIDTH, HEIGHT = 160, 120


def _scene(*lefts: int) -> np.ndarray:
    portrait = cv2.resize(skimage.data.astronaut()[:240, 110:350], (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
    rgb = np.full((HEIGHT, WIDTH * max(1, len(lefts)), 3), 110, dtype=np.uint8)
    for left in lefts:
        rgb[:, left : left + HEIGHT] = portrait
    return rgb


def _write_clip(path: Path, frames: Iterable[np.ndarray]) -> Path:
    write_video(path, frames, frames_per_second=FRAMES_PER_SECOND)
    return path


@pytest.fixture(scope="session")
def scene() -> Callable[..., np.ndarray]:
    """Makes a grey RGB picture, 120 pixels high, with a portrait at every left edge that is named."""
    return _scene


@pytest.fixture(scope="session")
def write_clip() -> Callable[[Path, Iterable[np.ndarray]], Path]:
    """Writes RGB frames as a clip of ten frames a second, and returns its path."""
    return _write_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Folder of small files, good and bad; nothing may write into it."""
    folder = tmp_path_factory.mktemp("clips")
    moving = [_scene(index) for index in range(24)]
    _write_clip(folder / "face.webm", moving)
    _write_clip(folder / "short.webm", moving[:5])
    _write_clip(folder / "faceless.webm", [_scene()] * 6)
    _write_clip(folder / "pair.webm", [_scene(10 + index, 180) for index in range(6)])
    cv2.imwrite(str(folder / "still.png"), cv2.cvtColor(_scene(20), cv2.COLOR_RGB2BGR))
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("This is no video, whatever its name says.\n" * 40, encoding="utf-8")
    whole = (folder / "face.webm").read_bytes()
    (folder / "truncated.webm").write_bytes(whole[: len(whole) * 9 // 10])
    return folder


@pytest.fixture(scope="session")
def tiny_model() -> FrameResNetForVideoClassification:
    """A frame recogniser with random weights."""
    torch.manual_seed(0)
    config = FrameResNetConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], image_size=112)
    model = FrameResNetForVideoClassification(config)
    with torch.no_grad():
        # A fresh head says the same of everything.
        model.classifier.weight.normal_(std=0.3)
    return model


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_model, tmp_path_factory) -> Path:
    """Folder with the tiny model and its processor, as a user would have it."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    tiny_model.save_pretrained(folder)
    dfer_hf.DferVideoProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def detector() -> MtcnnFaceDetector:
    """The usual detector, but searching only for faces as large as those of the clips."""
    return MtcnnFaceDetector(detection_side=320, min_face_pixels=40)


@pytest.fixture(scope="session")
def predictor(tiny_checkpoint, detector) -> dfer_hf.VideoPredictor:
    """A predictor loaded from the tiny checkpoint."""
    return dfer_hf.VideoPredictor.from_pretrained(tiny_checkpoint, device="cpu", detector=detector)


@pytest.fixture(scope="session")
def prediction(predictor, clips) -> dfer_hf.ClipPrediction:
    """What the predictor says of `face.webm`, with heat maps."""
    return predictor(clips / "face.webm", explain=True)


@pytest.fixture
def dfer(tiny_checkpoint, tmp_path, monkeypatch, capfd):
    """Runs the command in an empty folder; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, model=tiny_checkpoint):
        takes_model = arguments[0] in ("predict", "report")
        options = ("--model", model, "--device", "cpu") if takes_model and model else ()
        capfd.readouterr()
        try:
            code = dfer_cli.main([str(argument) for argument in (*arguments, *options)])
        except SystemExit as stop:
            code = stop.code
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return run


def command_environment(tiny_checkpoint):
    options = f"--model {shlex.quote(str(tiny_checkpoint))} --device cpu"
    return os.environ | {"TINY": options, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def start(tmp_path, tiny_checkpoint):
    """Starts `dfer` in an empty folder; whatever still runs in the end is killed."""
    running = []

    def begin(*arguments):
        process = subprocess.Popen(
            [*DFER, *map(str, arguments)],
            cwd=tmp_path,
            env=command_environment(tiny_checkpoint),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background may have Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()
