from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from dfer_hf import ClipPrediction, FacePrediction, FramePrediction, Scores
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE, align
from dfer_hf.video import Frame, FrameSpool, VideoError, read_frames, write_video
from dfer_hf.visualize import draw_face, group_colours, write_overlay
from tests.video.make_clips import write_clip_with_sound

GREY = 100
FINE = Scores({"happiness": 0.75, "fear": 0.25})
COARSE = {"positive": Scores({"positive": 0.75, "negative": 0.25})}
COARSE["negative"] = Scores({"positive": 0.25, "negative": 0.75})
# The template turned by a right angle and enlarged: the crop's top left corner is the frame's bottom left.
POINTS = 1.5 * np.stack([ARCFACE_TEMPLATE[:, 1], 112 - ARCFACE_TEMPLATE[:, 0]], axis=1) + (60, 20)


def grey(height=240, width=320):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def seen(index=0, *, box=(60.0, 20.0, 228.0, 188.0), group="positive", heat_map=None, points=POINTS):
    return FramePrediction(index, index / 10, box, FINE, COARSE[group], 0.1, points=points, heat_map=heat_map)


def clip(*faces, num_frames=6, frames_per_second=10.0):
    return ClipPrediction("clip", "model", num_frames, num_frames / 10, frames_per_second, tuple(faces))


def face(*frames, track_id=0):
    return FacePrediction(track_id, FINE, COARSE["positive"], frames)


def write_grey(path, num_frames=6, **size):
    write_video(path, [grey(**size)] * num_frames, frames_per_second=10.0)
    return path


def near(pixel, colour):
    return np.abs(np.asarray(pixel, int) - colour).max() < 40


def test_heat_map_lands_where_the_crop_was_cut():
    heat_map = np.zeros((7, 7), dtype=np.float32)
    heat_map[:2, :2] = 1
    drawn = grey()
    draw_face(drawn, seen(heat_map=heat_map), colour=(0, 0, 0), heat_map_opacity=1.0)
    changed = np.abs(align(drawn, POINTS).astype(int) - GREY).max(axis=2) > 60
    # The box runs along the edge of the crop.
    changed[:, :8] = changed[-8:] = False
    assert changed[12:24, 12:24].all()
    assert not changed[56:100, 56:100].any()


def test_heat_map_is_clearer_where_its_value_is_higher_and_absent_at_zero():
    drawn = grey()
    ramp = np.repeat(np.linspace(0, 1, 14, dtype=np.float32)[None], 14, axis=0)
    draw_face(drawn, seen(heat_map=ramp, box=(0.0, 0.0, 5.0, 5.0)), colour=(0, 0, 0))
    row = np.abs(align(drawn, POINTS).astype(int)[90] - GREY).sum(axis=1)
    assert row[4] < 6
    assert row[30] < row[60] < row[105]


def test_boxes_take_the_colour_of_their_group():
    colours = group_colours(["positive", "negative"])
    for group in ("positive", "negative"):
        drawn = grey()
        draw_face(drawn, seen(group=group), colour=colours[group])
        assert near(drawn[150, 228], colours[group])
    assert not near(colours["positive"], colours["negative"])


def test_other_groups_have_colours_of_their_own():
    colours = group_colours(["positive", "high arousal", "low arousal"])
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("corner", [(0.0, 0.0), (200.0, 0.0), (-20.0, 150.0), (250.0, 200.0)])
def test_labels_stay_within_the_frame(corner):
    drawn = grey()
    left, top = corner
    draw_face(drawn, seen(box=(left, top, left + 60, top + 60)), colour=(230, 159, 0))
    letters = (drawn > 240).all(axis=2)
    ys, xs = np.nonzero(letters)
    assert letters.sum() > 150
    assert xs.min() > 0
    assert xs.max() < 319
    assert ys.min() > 0
    assert ys.max() < 239


def test_frames_without_a_face_pass_unchanged(tmp_path):
    source, output = write_grey(tmp_path / "in.webm"), tmp_path / "out.webm"
    gap = FramePrediction(2, 0.2)
    write_overlay(source, clip(face(seen(1), gap, seen(3))), output)
    frames = [frame.rgb.astype(int) for frame in read_frames(output)]
    touched = [np.abs(frame - GREY).max() > 60 for frame in frames]
    assert touched == [False, True, False, True, False, False]


def test_overlay_keeps_frames_and_rate_and_shrinks_with_the_boxes(tmp_path):
    source, output = write_grey(tmp_path / "in.webm", height=480, width=640), tmp_path / "out.webm"
    shares = []
    prediction = clip(face(*(seen(index) for index in range(6))))
    write_overlay(source, prediction, output, max_side=320, progress=shares.append)
    frames = list(read_frames(output))
    assert [frame.rgb.shape for frame in frames] == [(240, 320, 3)] * 6
    assert frames[-1].time_seconds == pytest.approx(0.5, abs=0.01)
    assert near(frames[0].rgb[75, 114], group_colours(["positive"])["positive"])
    assert near(frames[0].rgb[150, 228], (GREY,) * 3)
    assert shares == pytest.approx([share / 6 for share in range(1, 7)])


def test_every_face_of_a_frame_is_drawn(tmp_path):
    source, output = write_grey(tmp_path / "in.webm"), tmp_path / "out.webm"
    one = face(seen(0, box=(20.0, 80.0, 100.0, 180.0)))
    other = face(seen(0, box=(200.0, 80.0, 280.0, 180.0), group="negative"), track_id=1)
    write_overlay(source, clip(one, other), output)
    first = next(iter(read_frames(output))).rgb
    colours = group_colours(["positive", "negative"])
    assert near(first[150, 100], colours["positive"])
    assert near(first[150, 280], colours["negative"])


def test_overlay_is_drawn_from_kept_frames_with_sound_and_true_times(tmp_path):
    source = write_clip_with_sound(tmp_path / "in.mp4", seconds=1.0)
    prediction = clip(face(*(seen(index, box=(5.0, 5.0, 40.0, 40.0)) for index in range(4))), num_frames=4)
    with FrameSpool(max_side=48) as spool:
        for index, seconds in enumerate((0.0, 0.1, 0.5, 0.75)):
            spool.add(Frame(index, seconds, grey()))
        write_overlay(spool, prediction, tmp_path / "out.mp4", sound=source)
    frames = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.time_seconds for frame in frames] == pytest.approx([0.0, 0.1, 0.5, 0.75], abs=0.001)
    assert {frame.rgb.shape for frame in frames} == {(36, 48, 3)}
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams.audio) == 1


def test_a_file_brings_its_own_sound(tmp_path):
    source = write_clip_with_sound(tmp_path / "in.mp4", seconds=1.0)
    write_overlay(source, clip(num_frames=25, frames_per_second=25.0), tmp_path / "out.webm")
    with av.open(str(tmp_path / "out.webm")) as container:
        assert len(container.streams.audio) == 1


def test_frames_that_are_passed_in_are_not_drawn_on(tmp_path):
    frame = Frame(0, 0.0, grey())
    write_overlay([frame], clip(face(seen(0)), num_frames=1), tmp_path / "out.webm")
    assert (frame.rgb == GREY).all()


def test_a_label_says_where_the_answer_is_not_sure(monkeypatch):
    written = []
    monkeypatch.setattr(cv2, "putText", lambda _rgb, text, *_arguments: written.append(text))
    for is_unsure in (False, True):
        draw_face(grey(), replace(seen(), is_unsure=is_unsure), colour=(0, 0, 0), name="1: ")
    assert written == ["1: happiness 75%, positive", "1: not sure, perhaps happiness 75%, positive"]


def test_a_still_is_shown_for_a_second(tmp_path, clips):
    output = tmp_path / "out.webm"
    still = clip(face(seen(0, box=(30.0, 20.0, 90.0, 90.0))), num_frames=1, frames_per_second=0.0)
    write_overlay(clips / "still.png", still, output)
    assert len(list(read_frames(output))) == 25


def test_an_opacity_out_of_range_is_refused(tmp_path, clips):
    with pytest.raises(ValueError, match="heat_map_opacity"):
        write_overlay(clips / "still.png", clip(), tmp_path / "out.webm", heat_map_opacity=1.5)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VideoError, match="absent"):
        write_overlay(tmp_path / "absent.mp4", clip(), tmp_path / "out.webm")


def test_labels_of_close_faces_do_not_cover_one_another(tmp_path):
    def ink(*boxes):
        faces = [face(seen(box=box), track_id=index) for index, box in enumerate(boxes)]
        write_overlay([Frame(0, 0.0, grey(400, 400))], clip(*faces, num_frames=1), tmp_path / "overlay.webm")
        return (next(read_frames(tmp_path / "overlay.webm")).rgb < 50).all(axis=2).sum()

    far, near = ((50.0, 300.0, 110.0, 360.0), (50.0, 100.0, 110.0, 160.0)), (120.0, 300.0, 180.0, 360.0)
    assert ink(far[0], near) == pytest.approx(ink(*far), rel=0.1)
