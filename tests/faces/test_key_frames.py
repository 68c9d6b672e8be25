import numpy as np
import pytest

from dfer_hf.faces import track_faces
from tests.faces.test_tracking import ScriptedDetector, face, frames, ids

EVERY = {"detect_every_seconds": 0.2, "batch_size": 2}


class RefiningDetector(ScriptedDetector):
    """Also looks near boxes, for the faces of its script whose centre lies in one."""

    def __init__(self, script, *, is_blind=False):
        super().__init__(script)
        self.is_blind, self.looked_at = is_blind, []

    @property
    def settings(self):
        return {"detector": "scripted"}

    def refine(self, images, boxes):
        found = []
        for image, expected in zip(images, boxes, strict=True):
            number = int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])
            self.looked_at.append((number, len(expected)))
            centres = [(one, np.array(one.box).reshape(2, 2).mean(axis=0)) for one in self.script(number)]
            found.append(
                [
                    one
                    for one, centre in centres
                    if not self.is_blind
                    and ((expected[:, :2] < centre) & (centre < expected[:, 2:])).all(axis=1).any()
                ]
            )
        return found


def follow(script, number, *, is_blind=False, **settings):
    detector = RefiningDetector(script, is_blind=is_blind)
    tracked = list(track_faces(frames(number, **settings), detector, **EVERY))
    plain = list(track_faces(frames(number, **settings), ScriptedDetector(script), **EVERY))
    return tracked, plain, detector


def places(tracked):
    return [[(one.track_id, *one.box, one.is_interpolated) for one in result.faces] for result in tracked]


def test_every_second_key_frame_is_searched_and_the_others_looked_at_near_both_neighbours():
    tracked, plain, detector = follow(lambda number: [face(50 + number)], 43)
    assert detector.asked == [0, 6, 18, 30, 42]
    assert detector.looked_at == [(12, 2), (24, 2), (36, 2)]
    assert places(tracked) == places(plain)


def test_whoever_comes_is_found_on_the_frame_before_the_search_that_found_them():
    tracked, plain, detector = follow(lambda number: [face(50), *([face(200)] if number >= 12 else [])], 43)
    assert (12, 3) in detector.looked_at
    assert places(tracked) == places(plain)
    assert ids(tracked[12]) == [0, 1]


def test_whoever_goes_is_found_on_the_frame_after_the_search_that_found_them():
    tracked, plain, _ = follow(lambda number: [face(50), *([face(200)] if number <= 12 else [])], 43)
    assert places(tracked) == places(plain)
    assert ids(tracked[12]) == [0, 1]


@pytest.mark.parametrize("script", [lambda _: [face(50)], lambda number: [face(50)] if number == 24 else []])
def test_a_frame_is_searched_where_looking_near_its_neighbours_finds_too_few(script):
    tracked, plain, detector = follow(script, 43, is_blind=True)
    assert {number for number, _ in detector.looked_at} < set(detector.asked)
    assert places(tracked) == places(plain)


def test_a_neighbour_beyond_a_cut_says_nothing():
    def script(number):
        return [face(50)] if number < 15 else [face(200)]

    # Key frames: 0, 6, 12, 14 before the cut and 15, 21, … after it; numbers 2, 4, 6 of them are not searched.
    tracked, plain, detector = follow(script, 45, scene_of=lambda index: int(index >= 15))
    assert detector.looked_at == [(12, 2), (27, 2), (39, 2)]
    assert 15 in detector.asked
    assert places(tracked) == places(plain)
