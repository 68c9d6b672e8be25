import numpy as np
import pytest

from dfer_hf.interpolation import fill_between
from dfer_hf.prediction import FramePrediction, Scores

TIMES = [index / 30 for index in range(12)]


def seen(index, *, smile, weight=0.25):
    return FramePrediction(
        index,
        TIMES[index],
        box=(10.0 * index, 0.0, 10.0 * index + 50, 50.0),
        fine=Scores({"smile": smile, "frown": 1 - smile}),
        coarse=Scores({"good": smile, "bad": 1 - smile}),
        weight=weight,
        points=np.full((5, 2), float(index)),
        heat_map=np.full((2, 2), smile),
    )


def test_a_skipped_frame_lies_between_its_neighbours():
    frames = fill_between([seen(0, smile=0.0), seen(2, smile=1.0)], analysed=[0, 2], times=TIMES[:3])
    middle = frames[1]
    assert middle.is_interpolated
    assert middle.time_seconds == pytest.approx(1 / 30)
    assert middle.box == pytest.approx((10, 0, 60, 50))
    assert middle.points == pytest.approx(np.ones((5, 2)))
    assert middle.fine.probabilities == pytest.approx({"smile": 0.5, "frown": 0.5})
    assert middle.coarse.probabilities == pytest.approx({"good": 0.5, "bad": 0.5})
    assert [frame.is_interpolated for frame in frames] == [False, True, False]


def test_every_frame_from_first_to_last_has_one_entry_in_order():
    frames = fill_between(
        [seen(index, smile=0.5) for index in (2, 4, 6)], analysed=[0, 2, 4, 6, 8], times=TIMES
    )
    assert [frame.frame_index for frame in frames] == [2, 3, 4, 5, 6]


def test_a_gap_stays_a_gap_and_so_do_the_skipped_frames_beside_it():
    frames = fill_between([seen(0, smile=0.5), seen(4, smile=0.5)], analysed=[0, 2, 4], times=TIMES[:5])
    assert [frame.box is None for frame in frames] == [False, True, True, True, False]
    assert [frame.fine is None for frame in frames] == [False, True, True, True, False]
    assert frames[2].weight == 0


def test_frames_after_the_last_analysed_one_repeat_it():
    frames = fill_between(
        [seen(8, smile=0.5), seen(10, smile=0.9)], analysed=[0, 2, 4, 6, 8, 10], times=TIMES
    )
    assert [frame.frame_index for frame in frames] == [8, 9, 10, 11]
    assert frames[-1].is_interpolated
    assert frames[-1].fine == frames[-2].fine
    assert frames[-1].time_seconds == pytest.approx(11 / 30)


def test_weights_sum_to_one_and_keep_their_proportions():
    frames = fill_between(
        [seen(0, smile=0.1, weight=0.25), seen(2, smile=0.1, weight=0.75)], analysed=[0, 2], times=TIMES[:3]
    )
    assert sum(frame.weight for frame in frames) == pytest.approx(1)
    assert frames[2].weight == pytest.approx(3 * frames[0].weight)
    assert frames[1].weight == pytest.approx(2 * frames[0].weight)


def test_nothing_changes_where_every_frame_was_analysed():
    frames = [seen(index, smile=0.3, weight=0.5) for index in (0, 1)]
    assert fill_between(frames, analysed=[0, 1], times=TIMES[:2]) == tuple(frames)
