"""By which rule a class, its group and "not sure" are answered."""

import numpy as np
import pytest

from dfer_hf import DferVideoProcessor, VideoPredictor
from dfer_hf.face_summary import decide_clip


def test_an_answer_is_not_sure_where_several_classes_are_in_its_set(tiny_model, clips, detector):
    tiny_model.config.set_threshold = 0.0
    try:
        cautious = VideoPredictor(tiny_model, DferVideoProcessor(), name="tiny", detector=detector)
        (face,) = cautious(clips / "short.webm").faces
    finally:
        tiny_model.config.set_threshold = None
    assert sorted(face.fine.prediction_set) == sorted(face.fine.probabilities)
    assert face.is_unsure
    assert all(frame.is_unsure for frame in face.frames)


def test_label_and_group_never_contradict_each_other(prediction, predictor):
    group_of = {label: group for group, labels in predictor.groups.items() for label in labels}
    for answer in (prediction.faces[0], *prediction.faces[0].frames):
        assert answer.coarse.label == group_of[answer.fine.label]
        if answer.coarse.lead < 0:
            assert answer.is_unsure


def test_a_group_is_as_probable_as_its_classes_together(tiny_model, clips, detector):
    tiny_model.config.temperature = 0.5
    try:
        sharper = VideoPredictor(tiny_model, DferVideoProcessor(), name="tiny", detector=detector)
        prediction = sharper(clips / "short.webm")
    finally:
        tiny_model.config.temperature = 1.0
    for answer in (prediction.faces[0], *prediction.faces[0].frames):
        for group, labels in tiny_model.config.groups.items():
            together = sum(answer.fine.probabilities[label] for label in labels)
            assert answer.coarse.probabilities[group] == pytest.approx(together, abs=1e-6)


def test_an_answer_is_not_sure_where_the_system_answers_another_group(predictor):
    happiness = np.array([0.94, *[0.01] * 6])
    positive, neutral, _ = np.eye(3)
    added_up = np.array([0.95, 0.01, 0.04])
    for own_group, is_unsure in ((positive, False), (neutral, True), (added_up, False)):
        fine, coarse, unsure = decide_clip(predictor.engine, happiness, own_group)
        assert (fine.label, coarse.label, unsure) == ("happiness", "positive", is_unsure)
