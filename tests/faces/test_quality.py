import json

import cv2
import numpy as np
import pytest
import skimage.data

from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE, CROP_SIZE, align
from dfer_hf.faces.quality import measure_quality, sharpness

# The template's points on a head: to the right, down, and out of the face, in pixels of the crop.
HEAD = np.concatenate([ARCFACE_TEMPLATE - CROP_SIZE / 2, [[0.0], [0.0], [20.8], [5.2], [5.2]]], axis=1)


def seen_from(yaw_degrees=0.0, pitch_degrees=0.0, roll_degrees=0.0, scale=1.0):
    """The five points of a head that is turned to the right of the picture, then down, then tilted clockwise."""
    yaw, pitch, roll = np.radians([yaw_degrees, pitch_degrees, roll_degrees])
    x, y, z = HEAD.T
    x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    y = y * np.cos(pitch) + z * np.sin(pitch)
    return scale * np.stack([x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)], axis=1)


def quality(points, *, width=100.0, confidence=1.0, crop_sharpness=1.0, coverage=1.0):
    points = np.atleast_3d(points).reshape(-1, 5, 2)
    count = len(points)
    return measure_quality(
        points=points,
        boxes=np.tile((50.0, 0.0, 50 + width, 120.0), (count, 1)),
        confidences=np.full(count, confidence),
        crops_sharpness=np.full(count, crop_sharpness),
        coverage=coverage,
    )


@pytest.fixture(scope="module")
def portrait():
    return np.ascontiguousarray(skimage.data.astronaut()[:300, 50:450])


@pytest.fixture(scope="module")
def face(portrait):
    return MtcnnFaceDetector().detect([portrait])[0][0]


def test_a_real_frontal_face_is_seen_well(portrait, face):
    measured = measure_quality(
        points=face.points[None],
        boxes=np.array([face.box]),
        confidences=np.array([face.confidence]),
        crops_sharpness=np.array([sharpness(align(portrait, face.points))]),
        coverage=1.0,
    )
    assert measured.is_enough
    assert measured.problems == ()
    assert measured.size_pixels == pytest.approx(face.box[2] - face.box[0])
    assert abs(measured.roll_degrees) < 10
    assert measured.turn_degrees < 25
    assert measured.template_distance < 0.2


@pytest.mark.parametrize("roll_degrees", [-170, -90, -30, 0, 45, 120])
def test_roll_is_measured_whatever_the_size(roll_degrees):
    measured = quality(seen_from(roll_degrees=roll_degrees, scale=7.3))
    assert measured.roll_degrees == pytest.approx(roll_degrees)
    assert measured.template_distance == pytest.approx(0, abs=1e-9)
    assert measured.turn_degrees == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("roll_degrees", [0, 75])
@pytest.mark.parametrize(("yaw_degrees", "pitch_degrees"), [(30, 0), (-60, 0), (0, 40), (0, -40), (85, 0)])
def test_turn_is_the_angle_between_face_and_camera(yaw_degrees, pitch_degrees, roll_degrees):
    measured = quality(seen_from(yaw_degrees, pitch_degrees, roll_degrees, scale=0.4))
    assert measured.turn_degrees == pytest.approx(abs(yaw_degrees) + abs(pitch_degrees), abs=2)


def test_the_middle_frame_counts_not_the_odd_one():
    points = np.stack([seen_from(roll_degrees=roll) for roll in (178, -178, 179, 20)])
    assert abs(quality(points).roll_degrees) > 175


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"points": seen_from(yaw_degrees=80)}, "turned far"),
        ({"points": seen_from(roll_degrees=80)}, "on its side"),
        ({"points": seen_from(roll_degrees=170)}, "upside down"),
        ({"width": 11.0}, "only 11 pixels wide"),
        ({"crop_sharpness": 0.01}, "blurred"),
        ({"confidence": 0.72}, "hardly"),
        ({"coverage": 0.05}, "5% of the frames"),
    ],
)
def test_what_is_too_little_is_named(changes, word):
    measured = quality(**{"points": seen_from()} | changes)
    assert not measured.is_enough
    (problem,) = measured.problems
    assert word in problem


def test_one_cause_is_named_once():
    assert len(quality(seen_from(), width=10.0, crop_sharpness=0.01).problems) == 1


def test_sharpness_falls_with_blur_and_not_with_contrast_or_light(portrait, face):
    def of(picture):
        return sharpness(align(picture, face.points))

    blurred = [of(cv2.GaussianBlur(portrait, (0, 0), sigma)) for sigma in (1.0, 2.0, 4.0, 8.0)]
    assert np.all(np.diff([of(portrait), *blurred]) < 0)
    faint = (portrait * 0.4 + 90).astype(np.uint8)
    assert of(faint) == pytest.approx(of(portrait), rel=0.1)
    assert sharpness(np.full((CROP_SIZE, CROP_SIZE, 3), 80, dtype=np.uint8)) == 0


def test_the_dictionary_is_ready_for_json():
    measured = quality(seen_from(), width=10.0)
    read = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert read["is_enough"] is False
    assert read["problems"] == list(measured.problems)
    assert read["size_pixels"] == 10


def test_nothing_seen_is_refused():
    with pytest.raises(ValueError, match="one frame or more"):
        quality(np.zeros((0, 5, 2)))
