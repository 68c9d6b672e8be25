import cv2
import numpy as np
import pytest
import torch

import training.landmarks.evaluate_landmarks
from dfer_hf.faces import Detection
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE, CROP_SIZE
from training.landmarks.evaluate_landmarks import EYES, detect_points, find_landmarks, measure
from training.landmarks.london import PUPILS, SHARED_POINTS, Portrait, read_portraits

FIVE_POINTS = ARCFACE_TEMPLATE @ np.array([(1.9, 0.4), (-0.4, 1.9)]) + (60, 30)
"""A face about twice as large as its crop, and turned."""


class TemplateHead(torch.nn.Module):
    """Predicts the eyes where the template has them, and everything else at the nose."""

    def forward(self, frames):
        assert frames.shape[1:] == (3, CROP_SIZE, CROP_SIZE)
        landmarks = np.tile(ARCFACE_TEMPLATE[2], (68, 1))
        for side, eye in enumerate(EYES):
            landmarks[eye] = ARCFACE_TEMPLATE[side]
        return torch.from_numpy((landmarks + 0.5) / CROP_SIZE).float()[None]


class OneFace:
    def detect(self, images):
        found = Detection((0.0, 0.0, 200.0, 200.0), FIVE_POINTS, 1.0)
        return [[found] if image.any() else [] for image in images]


def portrait(person, *, pupil_error=0.0, shade=99):
    points = np.zeros((189, 2))
    points[list(PUPILS)] = FIVE_POINTS[:2] + np.array([0, pupil_error])
    return Portrait(person, "west_asian", np.full((300, 300, 3), shade, np.uint8), points)


@pytest.mark.parametrize("grey", [True, False])
def test_landmarks_come_back_to_the_frame(grey):
    found = find_landmarks(TemplateHead(), np.zeros((300, 300, 3), np.uint8), FIVE_POINTS, grey=grey)
    for side, eye in enumerate(EYES):
        np.testing.assert_allclose(found[eye], np.tile(FIVE_POINTS[side], (6, 1)), atol=1e-3)
    np.testing.assert_allclose(found[0], FIVE_POINTS[2], atol=1e-3)


def test_errors_are_per_cent_of_the_distance_between_the_pupils(monkeypatch):
    monkeypatch.setattr(training.landmarks.evaluate_landmarks, "MtcnnFaceDetector", OneFace)
    distance = np.linalg.norm(FIVE_POINTS[0] - FIVE_POINTS[1])
    people = [portrait("001"), portrait("002", pupil_error=0.06 * distance), portrait("003", shade=0)]
    figures = measure(TemplateHead(), people, detect_points(people), grey=False)
    assert figures["people"] == 2
    assert figures["not_found"] == ["003"]
    assert figures["pupils"] == {"mean": pytest.approx(3, abs=0.02), "worst": pytest.approx(6, abs=0.02)}
    assert figures["pupils_by_detector"] == pytest.approx(3, abs=0.02)
    assert figures["pupils_by_ethnicity"] == {"west_asian": pytest.approx(3, abs=0.02)}


def test_no_face_at_all_is_an_error(monkeypatch):
    monkeypatch.setattr(training.landmarks.evaluate_landmarks, "MtcnnFaceDetector", OneFace)
    people = [portrait("001", shade=0)]
    with pytest.raises(ValueError, match="the detector found none"):
        measure(TemplateHead(), people, detect_points(people), grey=True)


def test_shared_points_name_each_landmark_once():
    of_68 = [landmark for _, landmarks, _ in SHARED_POINTS for landmark in landmarks]
    of_189 = [point for _, _, points in SHARED_POINTS for point in points]
    assert len(set(of_68)) == len(of_68) and set(of_68) <= set(range(68))  # noqa: PT018
    assert len(set(of_189)) == len(of_189) and set(of_189) <= set(range(189))  # noqa: PT018


def test_portraits_are_read_with_their_points(tmp_path):
    (tmp_path / "images").mkdir()
    rgb = np.zeros((20, 20, 3), np.uint8)
    rgb[..., 0] = 200
    cv2.imwrite(str(tmp_path / "images" / "001_neutral.jpg"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    (tmp_path / "people.csv").write_text("person,age,gender,ethnicity\n001,24,female,white\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"Expected neutral_landmarks189.npz"):
        list(read_portraits(tmp_path))
    np.savez(tmp_path / "neutral_landmarks189.npz", **{"001": np.ones((189, 2)), "002": np.ones((189, 2))})
    portraits = read_portraits(tmp_path)
    first = next(portraits)
    assert (first.person, first.ethnicity, first.points.shape) == ("001", "white", (189, 2))
    assert first.rgb[..., 0].mean() > 150 > first.rgb[..., 2].mean()
    with pytest.raises(FileNotFoundError, match=r"002_neutral\.jpg"):
        next(portraits)
