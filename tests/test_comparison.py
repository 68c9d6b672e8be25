"""One clip by several systems: each answers as it would alone, and where they agree."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
import torch

import dfer_hf
from dfer_hf import ClipPrediction, FacePrediction, FramePrediction, Scores
from dfer_hf.comparison import Agreement, Comparison, compare
from dfer_hf.faces import MtcnnFaceDetector, crop_stream
from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification
from dfer_hf.predictor import predict_together
from dfer_hf.visualize import comparison_article, comparison_html
from dfer_hf.visualize.report import page_foot, page_head
from tests.visualize.test_report import Page


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory):
    """A system of another kind with random weights, which brightens dark faces, as a user would have it."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("checkpoints") / "other"
    model = AenForVideoClassification(AenConfig.from_preset("tiny"))
    side = model.config.image_size
    processor = dfer_hf.DferVideoProcessor(
        size={"height": side, "width": side}, num_frames=model.config.num_frames, low_light=True
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def other(other_checkpoint, detector):
    return dfer_hf.VideoPredictor.from_pretrained(other_checkpoint, device="cpu", detector=detector)


@pytest.fixture(scope="module")
def pair(predictor, other, clips):
    return compare([predictor, other], clips / "pair.webm")


def clip(model, labels, *, seconds=0.1):
    """Ten frames a second, each with a class of happiness (positive), surprise (positive) and fear (negative)."""

    def scores(label):
        group = "negative" if label == "fear" else "positive"
        fine = Scores({name: 0.8 if name == label else 0.1 for name in ("happiness", "surprise", "fear")})
        return fine, Scores({name: 0.8 if name == group else 0.2 for name in ("positive", "negative")})

    frames = tuple(
        FramePrediction(i, i * seconds, (0.0, 0.0, 9.0, 9.0), *scores(label), weight=1 / len(labels))
        if label
        else FramePrediction(i, i * seconds)
        for i, label in enumerate(labels)
    )
    face = FacePrediction(0, *scores(labels[0]), frames)
    return ClipPrediction("clip.mp4", model, len(labels), len(labels) * seconds, 1 / seconds, (face,))


ONE = clip("one", ["happiness"] * 10 + [None] * 5 + ["fear"] * 15)
TWO = clip("<two>", ["happiness"] * 4 + ["surprise"] * 6 + [None] * 5 + ["fear"] * 10 + ["happiness"] * 5)


def test_each_system_answers_as_it_would_alone(predictor, other, pair, clips):
    assert pair.models == ("tiny", "other")
    for alone, together in zip((predictor, other), pair.predictions, strict=True):
        expected = alone(clips / "pair.webm")
        assert together.settings == expected.settings
        assert [face.track_id for face in together.faces] == [face.track_id for face in expected.faces]
        for ours, theirs in zip(together.faces, expected.faces, strict=True):
            assert ours.fine.probabilities == pytest.approx(theirs.fine.probabilities, abs=1e-5)
            assert [frame.answer for frame in ours.frames] == [frame.answer for frame in theirs.frames]


def test_the_clip_is_decoded_and_searched_for_faces_once(predictor, other, clips, monkeypatch):
    searched, read, track = [], [], crop_stream.track_faces

    def count(frames, detector, **options):
        searched.append(detector)
        return track(frames, detector, **options)

    monkeypatch.setattr(crop_stream, "track_faces", count)
    found = predict_together([predictor, other, predictor], clips / "short.webm", on_frame=read.append)
    assert (len(found), len(read), len(searched)) == (3, 5, 1)


def test_systems_that_find_faces_otherwise_or_have_one_name_are_refused(predictor, tiny_checkpoint, clips):
    otherwise = MtcnnFaceDetector(detection_side=160)
    strange = dfer_hf.VideoPredictor.from_pretrained(tiny_checkpoint, device="cpu", detector=otherwise)
    with pytest.raises(ValueError, match="same detector"):
        predict_together([predictor, strange], clips / "short.webm")
    with pytest.raises(ValueError, match="several called tiny"):
        compare([predictor, predictor], clips / "short.webm")
    with pytest.raises(ValueError, match="got none"):
        predict_together([], clips / "short.webm")


def test_seconds_are_told_in_which_systems_agree_and_in_which_not():
    (face,) = Comparison((ONE, TWO)).faces
    assert [(stretch.agreement, round(stretch.start_seconds, 6)) for stretch in face.stretches] == [
        (Agreement.EXPRESSION, 0.0),
        (Agreement.GROUP, 0.4),
        (None, 1.0),
        (Agreement.EXPRESSION, 1.5),
        (Agreement.NEITHER, 2.5),
    ]
    assert face.seconds == pytest.approx({"expression": 1.4, "group": 0.6, "neither": 0.5})
    assert face.agreement is Agreement.EXPRESSION
    assert face.in_words() == [
        "They agree on the expression for 1.4 s, on its group only for 0.6 s, on neither for 0.5 s.",
        "0.4 to 1.0 s: one: happiness; <two>: surprise.",
        "2.5 to 3.0 s: one: fear; <two>: happiness.",
    ]
    assert json.loads(Comparison((ONE, TWO)).to_json())["faces"][0]["stretches"][1] == {
        "start_seconds": 0.4,
        "end_seconds": 1.0,
        "agree_on": "group",
        "answers": {"one": "happiness", "<two>": "surprise"},
    }


def test_lanes_have_one_axis_and_say_the_answers():
    article = comparison_article(Comparison((ONE, TWO)))
    page = Page(page_head(made_on=date(2026, 11, 26)) + article + page_foot([], versions={}))
    assert "two" not in page.tags
    assert "2 s" in page.text
    drawn = comparison_html(Comparison((ONE, TWO)))
    assert drawn.count('role="img"') == 3
    assert 'title="0.4 to 1.0 s: surprise">surprise</i>' in drawn
    assert "&lt;two&gt;. Answers: fear for 1.0 s, happiness for 0.9 s, surprise for 0.6 s." in drawn


def test_the_command_prints_and_writes_what_the_systems_say(dfer, tiny_checkpoint, other_checkpoint, clips):
    models = ("--models", tiny_checkpoint, other_checkpoint, "--device", "cpu")
    code, printed, errors = dfer("compare", clips / "short.webm", *models, "--json", "out.json", "--html", "out.html")
    assert (code, errors) == (0, "")
    assert printed.startswith("short.webm: 5 frames in 0.5 s\n  The face\n    tiny ")
    said = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert (said["source"], said["models"]) == ("short.webm", ["tiny", "other"])
    assert sum(said["faces"][0]["seconds"].values()) == pytest.approx(0.5)
    assert [prediction["num_frames"] for prediction in said["predictions"]] == [5, 5]
    page = Page(Path("out.html").read_text(encoding="utf-8"))
    assert "The model tiny" in page.text
    assert "The model other" in page.text
    assert "They agree on the expression for" in page.text


def test_folders_of_one_name_are_told_apart_by_what_was_typed(dfer, tiny_checkpoint, other_checkpoint, clips):
    models = ["first/checkpoint", "second/checkpoint"]
    for folder, copy in zip((tiny_checkpoint, other_checkpoint), models, strict=True):
        shutil.copytree(folder, copy)
    code, _, errors = dfer(
        "compare", clips / "short.webm", "--models", *models, "--json", "out.json", "--html", "out.html"
    )
    assert (code, errors) == (0, "")
    assert json.loads(Path("out.json").read_text(encoding="utf-8"))["models"] == models
    assert "The model second/checkpoint" in Page(Path("out.html").read_text(encoding="utf-8")).text


def test_a_bad_clip_is_an_error_in_every_output(dfer, tiny_checkpoint, other_checkpoint, clips):
    models = ("--models", tiny_checkpoint, other_checkpoint, "--device", "cpu")
    code, printed, errors = dfer("compare", clips / "text.mp4", *models, "--json", "out.json", "--html", "out.html")
    assert (code, printed) == (1, "")
    assert "text.mp4: Expected" in errors
    assert "Expected" in json.loads(Path("out.json").read_text(encoding="utf-8"))["error"]
    assert ">text.mp4</h2>" in Path("out.html").read_text(encoding="utf-8")


def test_one_model_or_a_folder_cannot_be_compared(dfer, tiny_checkpoint, clips):
    for arguments, said in (
        ((clips / "still.png", "--models", tiny_checkpoint), "two models"),
        ((clips / "still.png", "--models", tiny_checkpoint, tiny_checkpoint), "each model once"),
        ((clips,), "one file"),
    ):
        code, printed, errors = dfer("compare", *arguments)
        assert (code, printed) == (2, "")
        assert said in errors
