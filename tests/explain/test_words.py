import numpy as np
import pytest

from dfer_hf.explain.words import MOVEMENTS, PARTS, even_shares, part_masks, shares_of_parts, strength_of_movements
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE
from dfer_hf.prediction import FaceExplanation


def test_every_place_belongs_to_one_part():
    masks = part_masks(28)
    assert masks.shape == (len(PARTS), 28, 28)
    assert (masks.sum(axis=0) == 1).all()
    assert masks.any(axis=(1, 2)).all()
    # As many on the left as on the right.
    assert (masks == masks[:, :, ::-1]).mean() > 0.97


def test_the_points_faces_are_aligned_to_lie_in_their_parts():
    masks = part_masks(112)
    places = np.asarray(ARCFACE_TEMPLATE).round().astype(int)
    parts = [PARTS[int(masks[:, y, x].argmax())] for x, y in places]
    assert parts == ["eyes", "eyes", "nose", "mouth", "mouth"]


@pytest.mark.parametrize(
    ("place", "part"), [((0.82, 0.5), "mouth"), ((0.46, 0.34), "eyes"), ((0.03, 0.03), "elsewhere")]
)
def test_the_marked_part_carries_the_weight(place, part):
    maps = np.zeros((2, 28, 28))
    maps[1, int(place[0] * 28), int(place[1] * 28)] = 0.7
    shares = shares_of_parts(maps)
    assert next(iter(shares)) == part
    assert shares[part] > 95
    assert sum(shares.values()) == pytest.approx(100)


def test_an_even_map_carries_what_its_parts_have_of_the_area():
    shares = shares_of_parts(np.ones((3, 7, 7), dtype=np.float32))
    assert shares == pytest.approx(even_shares(), abs=0.01)
    assert sum(even_shares().values()) == pytest.approx(100)


def test_an_empty_map_says_nothing():
    assert shares_of_parts(np.zeros((3, 7, 7))) == {}
    assert shares_of_parts(np.zeros((3, 0, 0))) == {}


def test_movements_are_those_of_the_frames_that_count():
    names = ["_neutral", "mouthSmileLeft", "mouthSmileRight", "jawOpen", "eyeSquintLeft"]
    frames = np.array([[0.5, 0.8, 0.6, 0.1, 0.9], [0.5, 0.0, 0.0, 0.3, 0.9], [0.5, 0.0, 0.0, 0.9, 0.9]])
    found = strength_of_movements(frames, names, np.array([0.3, 0.1, -0.4]))
    assert found == pytest.approx({"lip corners up": 0.525, "jaw open": 0.15})
    assert list(found) == ["lip corners up", "jaw open"]
    evenly = strength_of_movements(frames, names, np.zeros(3))
    assert evenly["jaw open"] == pytest.approx(1.3 / 3)
    assert strength_of_movements(np.zeros((3, 0)), [], np.ones(3)) == {}


def test_each_blendshape_has_one_word():
    shapes = [shape for group in MOVEMENTS.values() for shape in group]
    assert len(shapes) == len(set(shapes))


def explanation(**fields):
    known = {"parts": {"mouth": 48.2, "eyes": 20.0, "elsewhere": 31.8}, "area_of_parts": {"mouth": 15, "eyes": 22}}
    return FaceExplanation("layercam", "happiness", 0.9, **known | fields)


def test_a_sentence_names_what_carries_more_than_its_area_with_its_number():
    found = explanation(movements={"lip corners up": 0.71, "jaw open": 0.1})
    assert found.sentence == "For happiness speak: mouth 48%; seen in it: lip corners up 71%."
    assert explanation(parts={}).sentence == "For happiness speak: no part of the face more than another."


def test_an_explanation_is_ready_for_json():
    found = explanation(movements={"jaw open": 0.30001}, weight_agreement=-0.25).to_dict()
    assert found["parts_percent"] == {"mouth": 48.2, "eyes": 20.0, "elsewhere": 31.8}
    assert found["movements"] == {"jaw open": 0.3}
    assert found["weight_agreement"] == -0.25
    assert found["sentence"].endswith("jaw open 30%.")
