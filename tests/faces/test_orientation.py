import cv2
import numpy as np
import pytest
import skimage.data

from dfer_hf.faces import Detection, MtcnnFaceDetector
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE
from dfer_hf.faces.orientation import find_turn, looks_turned
from dfer_hf.faces.quality import measure_quality


@pytest.fixture(scope="module")
def detector():
    return MtcnnFaceDetector()


@pytest.fixture(scope="module")
def portrait():
    return cv2.resize(skimage.data.astronaut()[:300, 50:450], (240, 180), interpolation=cv2.INTER_AREA)


class CountingDetector:
    """Finds what the real one finds, and counts the pictures it is shown."""

    def __init__(self, detector):
        self.detector, self.settings, self.num_pictures = detector, detector.settings, 0

    def detect(self, images):
        self.num_pictures += len(images)
        return self.detector.detect(images)


class UncertainDetector:
    """Sees one upright face, equally surely whichever way the picture is turned."""

    settings = {"detector": "uncertain"}

    def detect(self, images):
        return [[Detection((0, 0, 112, 112), ARCFACE_TEMPLATE, 0.99)] for _ in images]


def quality_of(roll_degrees, confidence):
    angle = np.radians(roll_degrees)
    turned = ARCFACE_TEMPLATE @ np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    return measure_quality(
        points=turned[None], boxes=np.array([(0, 0, 112, 112)]), confidences=np.array([confidence]),
        crops_sharpness=np.ones(1), coverage=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_picture_is_turned_to_where_its_face_stands(detector, portrait, turn):
    lying = np.rot90(portrait, turn)
    assert find_turn([lying, lying], detector) == turn
    np.testing.assert_array_equal(np.rot90(lying, -turn), portrait)


@pytest.mark.parametrize("degrees", [-45, -30, 30, 45])
def test_a_tilted_head_is_left_alone(detector, portrait, degrees):
    height, width = portrait.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    tilted = cv2.warpAffine(portrait, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    assert find_turn([tilted], detector) == 0


def test_one_frame_is_enough_where_the_face_stands(detector, portrait):
    counting = CountingDetector(detector)
    assert find_turn([portrait] * 5, counting) == 0
    assert counting.num_pictures == 4


def test_frames_without_faces_and_uncertain_ones_turn_nothing(detector):
    grey = np.full((120, 160, 3), 110, dtype=np.uint8)
    assert find_turn([grey, grey], detector) == 0
    assert find_turn([], detector) == 0
    assert find_turn([grey], UncertainDetector()) == 0


def test_a_clip_is_suspected_only_if_every_face_is_tilted_or_uncertain():
    sure, unsure, lying = quality_of(5, 0.9999), quality_of(5, 0.9), quality_of(80, 0.9999)
    assert looks_turned([])
    assert looks_turned([unsure, lying])
    assert not looks_turned([unsure, lying, sure])
