"""The stock pipeline answers from video files with an exported folder."""

import json
import sys

import cv2
import pytest
from transformers import pipeline

import dfer_hf

from .conftest import processor_of

ANSWER = """
import json
from transformers import pipeline

folder, *clips = sys.argv[1:]
classify = pipeline("video-classification", model=folder, trust_remote_code=True, device="cpu")
assert type(classify.model).__module__.startswith("transformers_modules."), type(classify.model)
print(json.dumps({clip: classify(clip, top_k=7) for clip in clips}))
try:
    sys.modules["facenet_pytorch"] = sys.modules["facenet_pytorch.models.mtcnn"] = None
    sys.modules[type(classify.video_processor).__module__]._mtcnn.cache_clear()
    classify(clips[0])
except ImportError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def files(clips, scene, tmp_path_factory, write_clip):
    """Clips of 24 frames, five and one, as WebM and as MP4."""
    folder = tmp_path_factory.mktemp("files")
    found = {"long.webm": clips / "face.webm", "short.webm": clips / "short.webm"}
    found["one.webm"] = write_clip(folder / "one.webm", [scene(20)])
    for name, count in {"long.mp4": 24, "short.mp4": 5, "one.mp4": 1}.items():
        found[name] = folder / name
        writer = cv2.VideoWriter(str(found[name]), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (160, 120))
        for index in range(count):
            writer.write(cv2.cvtColor(scene(index), cv2.COLOR_RGB2BGR))
        writer.release()
    return found


def expected_scores(model, path):
    """What the package's own predictor says of a video of one window."""
    predictor = dfer_hf.VideoPredictor(model, processor_of(model.config), name="expected")
    return predictor(path).faces[0].fine.probabilities


def scores_of(answer):
    return {entry["label"]: entry["score"] for entry in answer}


@pytest.mark.slow
def test_the_stock_pipeline_answers_every_file_without_this_package(models, repositories, run_without_package, files):
    printed = run_without_package(ANSWER, repositories["frame_resnet"], *files.values())
    answers, complaint = map(json.loads, printed.splitlines())
    for name, path in files.items():
        expected = expected_scores(models["frame_resnet"], path)
        assert scores_of(answers[str(path)]) == pytest.approx(expected, abs=1e-5), name
    assert "pip install facenet-pytorch==2.5.3" in complaint


@pytest.mark.parametrize("system", list(dfer_hf.systems()))
def test_the_stock_pipeline_answers_for_every_system(models, repositories, files, system):
    classify = pipeline("video-classification", model=str(repositories[system]), device="cpu")
    assert type(classify.model) is type(models[system])
    answer = classify(str(files["short.mp4"]), top_k=8)
    assert scores_of(answer) == pytest.approx(expected_scores(models[system], files["short.mp4"]), abs=1e-4)
    assert sum(scores_of(answer).values()) == pytest.approx(1, abs=1e-5)


def test_the_stock_pipeline_says_so_when_there_is_no_face(repositories, clips):
    classify = pipeline("video-classification", model=str(repositories["frame_resnet"]), device="cpu")
    with pytest.raises(ValueError, match="Expected a face in the video"):
        classify(str(clips / "faceless.webm"))


def test_no_decoder_beyond_pyav_is_asked_for(repositories, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    classify = pipeline("video-classification", model=str(repositories["frame_resnet"]), device="cpu")
    assert len(classify([str(files["one.webm"]), str(files["one.mp4"])])) == 2
