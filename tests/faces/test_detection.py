import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from matplotlib import cbook

from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.faces.detection import _cut
from tests.shared_data import SHARED_DATA

CLIPS = SHARED_DATA / "clips"


@pytest.fixture(scope="module")
def detector():
    return MtcnnFaceDetector()


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()[:400, 50:450]


@pytest.fixture(scope="module")
def hopper():
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        encoded = np.frombuffer(file.read(), dtype=np.uint8)
    image = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return cv2.resize(image, (512, 606), interpolation=cv2.INTER_AREA)


def centre(detection):
    left, top, right, bottom = detection.box
    return np.array([(left + right) / 2, (top + bottom) / 2])


def test_points_lie_on_the_features_of_the_face(detector, astronaut):
    (face,) = detector.detect([astronaut])[0]
    left_eye, right_eye, nose, left_mouth, right_mouth = face.points
    assert face.confidence > 0.95
    # Where the features are in the picture, found by looking at it.
    for point, expected in ((left_eye, (155, 107)), (right_eye, (194, 107)), (nose, (176, 133))):
        assert np.linalg.norm(point - expected) < 8
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert nose[1] < min(left_mouth[1], right_mouth[1])


def test_two_people_on_one_canvas_are_found_the_larger_face_first(detector, astronaut, hopper):
    canvas = np.full((700, 1300, 3), 128, dtype=np.uint8)
    canvas[50:450, 50:450] = astronaut
    canvas[50:656, 700:1212] = hopper
    faces = detector.detect([canvas])[0]
    assert len(faces) == 2
    alone = [detector.detect([image])[0][0] for image in (hopper, astronaut)]
    for face, single, corner in zip(faces, alone, ((700, 50), (50, 50)), strict=True):
        width = single.box[2] - single.box[0]
        assert np.linalg.norm(centre(face) - corner - centre(single)) < 0.1 * width


def test_boxes_and_points_are_in_pixels_of_the_image_given_whatever_its_size(detector, astronaut):
    (small,) = detector.detect([astronaut])[0]
    enlarged = cv2.resize(astronaut, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    # Further, smaller false alarms do no harm here.
    large = detector.detect([enlarged])[0][0]
    width = small.box[2] - small.box[0]
    assert np.abs(np.array(large.box) / 4 - small.box).max() < 0.1 * width
    assert np.abs(large.points / 4 - small.points).max() < 0.06 * width


def test_faces_agree_with_those_of_facenet_pytorch(detector, astronaut, hopper):
    from facenet_pytorch import MTCNN

    reference = MTCNN(min_face_size=24, keep_all=True)
    for image in (astronaut, hopper):
        boxes, _, points = reference.detect(image, landmarks=True)
        faces = detector.detect([image])[0]
        assert len(faces) == len(boxes)
        width = boxes[0, 2] - boxes[0, 0]
        assert np.abs(np.array(faces[0].box) - boxes[0]).max() < 0.1 * width
        assert np.abs(faces[0].points - points[0]).max() < 0.06 * width


def test_grey_and_transparent_images_give_the_same_face(detector, astronaut):
    (face,) = detector.detect([astronaut])[0]
    grey = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    opacity = np.zeros((*astronaut.shape[:2], 1), dtype=np.uint8)
    variants = detector.detect([grey, grey[..., None], np.concatenate([astronaut, opacity], axis=2)])
    for faces in variants:
        assert faces[0].confidence > 0.95
        assert np.linalg.norm(centre(faces[0]) - centre(face)) < 5
    assert variants[2][0].box == pytest.approx(face.box, abs=0.01)


def test_mixed_sizes_in_one_call_keep_their_order(detector, astronaut, hopper):
    blank = np.full((400, 400, 3), 90, dtype=np.uint8)
    images = [blank, hopper, astronaut, blank[:5, :5], astronaut, blank[:1, :400]]
    together = detector.detect(images)
    assert [len(faces) for faces in together] == [0, 1, 1, 0, 1, 0]
    for image, faces in zip(images, together, strict=True):
        for face, alone in zip(faces, detector.detect([image])[0], strict=True):
            assert face.box == pytest.approx(alone.box, abs=0.05)


def test_a_batch_smaller_than_the_images_changes_nothing(astronaut):
    images = [np.roll(astronaut, shift, axis=1) for shift in (0, 20, 40)]
    one, many = (MtcnnFaceDetector(batch_size=size).detect(images) for size in (1, 8))
    for first, second in zip(one, many, strict=True):
        assert first[0].box == pytest.approx(second[0].box, abs=0.05)


def test_no_images_give_no_lists(detector):
    assert detector.detect([]) == []


@pytest.mark.parametrize("side", [1, 8, 23, 24, 25, 48])
def test_tiny_images_are_no_reason_to_fail(detector, side):
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    assert detector.detect([noise]) == [[]]


def test_boxes_beside_the_image_are_left_out_together_with_their_owners(astronaut):
    boxes = np.array([[-50.0, 10, -20, 40], [350, 350, 450, 450], [500, 10, 540, 50], [10, 10.2, 34, 10.4]])
    kept, owners, crops = _cut([astronaut, astronaut], boxes, np.array([0, 1, 0, 1]), side=50)
    assert (kept.tolist(), owners.tolist()) == (boxes[1:2].tolist(), [1])
    np.testing.assert_array_equal(crops[0], astronaut[350:, 350:])


def test_a_face_cut_off_by_the_border_does_not_fail(detector, astronaut):
    (face,) = detector.detect([astronaut])[0]
    left, top, right, _ = (round(edge) for edge in face.box)
    faces = detector.detect([np.ascontiguousarray(astronaut[top:, left : (left + right) // 2 + 15])])[0]
    assert len(faces) <= 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64, 3), dtype=np.float32), "uint8.*float32.*astype"),
        (np.zeros((3, 64, 64), dtype=np.uint8), r"\(height, width, 3\).*\(3, 64, 64\).*channels last"),
        (np.zeros((2, 64, 64, 3), dtype=np.uint8), r"\(2, 64, 64, 3\)"),
        (np.zeros((0, 64, 3), dtype=np.uint8), r"\(0, 64, 3\)"),
        ([[1, 2], [3, 4]], "uint8.*list"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(detector, image, message):
    with pytest.raises(ValueError, match=message):
        detector.detect([image])


@pytest.mark.parametrize(
    "settings",
    [
        {"min_face_pixels": 8},
        {"detection_side": 20},
        {"thresholds": (0.6, 0.7)},
        {"thresholds": (0.6, 0.7, 1.2)},
        {"pyramid_factor": 1.0},
        {"batch_size": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="Expected"):
        MtcnnFaceDetector(**settings)


def test_settings_can_be_recorded_and_rebuild_the_detector(astronaut):
    settings = MtcnnFaceDetector(min_face_pixels=300).settings
    assert settings["min_face_pixels"] == 300
    arguments = {name: settings[name] for name in ("detection_side", "min_face_pixels", "thresholds")}
    assert MtcnnFaceDetector(**arguments).settings == settings
    assert MtcnnFaceDetector(**arguments).detect([astronaut]) == [[]]  # its face is smaller


def test_the_number_of_torch_threads_is_left_as_it_was(detector, astronaut):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    detector.detect([astronaut])
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 2


def test_importing_faces_imports_neither_torch_nor_facenet_pytorch():
    # The parent package is replaced by an empty one: what it imports is another matter.
    code = (
        "import sys, types; package = types.ModuleType('dfer_hf'); package.__path__ = ['dfer_hf'];"
        "sys.modules['dfer_hf'] = package; import dfer_hf.faces.detection, dfer_hf.faces;"
        "dfer_hf.faces.MtcnnFaceDetector();"
        "sys.exit(' '.join({'torch', 'facenet_pytorch'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


def test_without_facenet_pytorch_the_error_says_how_to_install_it(astronaut, monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch.models.mtcnn", None)
    with pytest.raises(ImportError, match="pip install facenet-pytorch"):
        MtcnnFaceDetector().detect([astronaut])


def test_every_face_of_a_group_is_found(detector):
    path = CLIPS / "multi_face.jpg"
    if not path.exists():
        pytest.skip(f"{path} is not there; set DFER_SHARED_DATA to the folder with the shared data.")
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    faces = detector.detect([image])[0]
    expected = [(258, 118), (362, 300), (480, 265), (582, 370), (740, 358)]
    nearest = [min(np.linalg.norm(centre(face) - place) for face in faces) for place in expected]
    assert len(faces) == 5
    assert max(nearest) < 40


def test_a_face_is_found_again_near_where_it_was_and_nowhere_else(detector, astronaut, hopper):
    canvas = np.full((700, 1300, 3), 128, dtype=np.uint8)
    canvas[50:450, 50:450] = astronaut
    canvas[50:656, 700:1212] = hopper
    larger, smaller = detector.detect([canvas])[0]
    near = np.add(smaller.box, (12, -9, 12, -9))
    (again,), nobody = detector.refine([canvas, canvas], [near[None], np.zeros((0, 4))])
    eyes = np.linalg.norm(smaller.points[0] - smaller.points[1])
    assert np.linalg.norm(again.points - smaller.points, axis=1).max() < 0.06 * eyes
    assert nobody == []
    # Two guesses at one face are one face, and the larger face still comes first.
    faces = detector.refine([canvas], [np.stack([near, smaller.box, larger.box])])[0]
    assert [pytest.approx(centre(face), abs=6) for face in faces] == [centre(larger), centre(smaller)]


def test_boxes_for_more_or_fewer_images_are_refused(detector, astronaut):
    with pytest.raises(ValueError, match="Expected boxes for each of 1 images, got them for 2"):
        detector.refine([astronaut], [np.zeros((0, 4))] * 2)
