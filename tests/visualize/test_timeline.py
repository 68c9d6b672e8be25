import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dfer_hf import ClipPrediction, FacePrediction, FramePrediction, Scores
from dfer_hf.prediction import FaceExplanation
from dfer_hf.visualize import build_timeline, describe_face, explanation_notes, summarise, table_rows, timeline_html
from dfer_hf.visualize.strip import key_frames

GROUPS = {"positive": ["happiness"], "negative": ["fear"]}


def frame(index, happiness):
    if happiness is None:
        return FramePrediction(index, index / 10)
    fine = Scores({"happiness": happiness, "fear": 1 - happiness})
    coarse = Scores({"positive": happiness, "negative": 1 - happiness})
    return FramePrediction(index, index / 10, (0.0, 0.0, 9.0, 9.0), fine, coarse, weight=0.1)


def face(values, **replaced):
    fine = replaced.get("fine", Scores({"happiness": 0.6, "fear": 0.4}))
    coarse = Scores({"positive": 0.6, "negative": 0.4})
    return FacePrediction(0, fine, coarse, tuple(frame(index, value) for index, value in enumerate(values)))


class Checker(HTMLParser):
    """Fails on tags that do not close, and keeps what is said to those who cannot see."""

    def __init__(self):
        super().__init__()
        self.open, self.labels, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        self.labels += [value for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)


def test_gaps_stay_gaps():
    timeline = build_timeline(face([0.9, 0.8, None, None, 0.2]))
    assert timeline.seen.tolist() == [True, True, False, False, True]
    assert timeline.fine["happiness"] == pytest.approx([0.9, 0.8, np.nan, np.nan, 0.2], nan_ok=True)
    assert timeline.coarse["negative"] == pytest.approx([0.1, 0.2, np.nan, np.nan, 0.8], nan_ok=True)
    assert timeline.weights == pytest.approx([0.1, 0.1, 0, 0, 0.1])
    assert timeline.gaps == (pytest.approx((0.2, 0.4)),)
    assert timeline.ends_seconds[-1] == pytest.approx(0.5)


def test_long_clips_are_averaged_to_moments():
    timeline = build_timeline(face([0.0, 1.0] * 500 + [None] * 10), max_moments=101)
    assert len(timeline.weights) == 101
    assert timeline.fine["happiness"][:100] == pytest.approx([0.5] * 100)
    assert np.isnan(timeline.fine["happiness"][100])
    assert timeline.weights.sum() == pytest.approx(100)
    assert timeline.starts_seconds[1] == pytest.approx(1.0)


def test_words_tell_who_led_for_how_long_and_when_nobody_was_seen():
    timeline = build_timeline(face([0.9] * 20 + [None] * 10 + [0.1] * 30))
    assert timeline.seconds_led == pytest.approx({"fear": 3.0, "happiness": 2.0})
    assert timeline.in_words() == ("Answers: fear for 3.0 s, happiness for 2.0 s. Not seen: 2.0 to 3.0 s.")


def test_words_headline_and_table_name_the_class_that_was_decided_on():
    """CFC-SP may decide on a class that is not the most probable one, and an answer may be not sure."""
    fine = Scores({"happiness": 0.4, "fear": 0.6}, "happiness")
    coarse = Scores({"positive": 0.4, "negative": 0.6}, "positive")
    sure = FramePrediction(0, 0.0, (0.0, 0.0, 9.0, 9.0), fine, coarse, weight=1.0)
    frames = (sure, dataclasses.replace(sure, frame_index=1, time_seconds=0.5, is_unsure=True))
    decided = FacePrediction(0, fine, coarse, frames, is_unsure=True)
    assert build_timeline(decided).seconds_led == pytest.approx({"happiness": 0.5, "not sure": 0.5})
    assert [row[1] for row in table_rows(decided)] == ["happiness", "not sure, perhaps happiness"]
    assert describe_face(decided) == "Face 1: not sure, perhaps happiness 40%, 0.0 to 0.5 s"
    said = summarise(ClipPrediction("clip.mp4", "tiny", 2, 1.0, 2.0, (decided,)))
    assert said[1] == "The face: not sure, perhaps happiness, since more than one expression is probable."


def test_a_reason_that_is_not_true_is_not_given():
    """A system that answers groups by itself, such as AEN, may name another one than the group of its class."""
    fine, coarse = (
        Scores({"happiness": 0.8, "fear": 0.2}, "happiness"),
        Scores({"positive": 0.8, "negative": 0.2}, "positive"),
    )
    frame = FramePrediction(0, 0.0, (0.0, 0.0, 9.0, 9.0), fine, coarse, weight=1.0)
    other = FacePrediction(0, fine, coarse, (frame,), is_unsure=True)
    said = summarise(ClipPrediction("clip.mp4", "tiny", 1, 0.0, None, (other,)))
    assert said[1] == "The face: not sure, perhaps happiness, since the system itself names another group."


def test_a_picture_has_no_time():
    still = face([0.5])
    assert describe_face(still) == "Face 1: happiness 60%"
    assert summarise(ClipPrediction("face.png", "tiny", 1, 0.0, None, (still,)))[0] == "1 picture · 1 face · tiny"


def test_drawing_has_a_curve_on_each_side_of_a_gap_and_none_within():
    page = timeline_html(face([0.5] * 4 + [None] * 2 + [0.5] * 4), groups=GROUPS)
    happiness = re.search(r'aria-label="happiness.*?</svg>', page).group()
    # A straight line marks the gap.
    paths = [path for path in re.findall(r'd="(.*?)"', happiness) if "H" not in path]
    curves = [[float(x) for x in re.findall(r"[ML]([\d.]+) ", path)] for path in paths]
    # An area and a line on each side.
    assert len(curves) == 4
    assert not any(400 < x < 600 for curve in curves for x in curve)
    assert {max(curve) for curve in curves} == {400, 1000}


def test_a_face_that_is_seen_for_one_frame_of_a_long_clip_is_drawn_wide_enough_to_see():
    page = timeline_html(face([0.9]), groups=GROUPS, duration_seconds=120.0)
    band = re.search(r'aria-label="groups.*?</svg>', page).group()
    places = [float(x) for x in re.findall(r"[ML]([\d.]+) ", re.search(r'd="(.*?Z)"', band).group(1))]
    assert max(places) - min(places) >= 6


def explained(losses, seen=(0.5,) * 4):
    shown = face(seen)
    frames = tuple(
        dataclasses.replace(frame, loss_without=loss) for frame, loss in zip(shown.frames, losses, strict=True)
    )
    explanation = FaceExplanation("layercam", "happiness", 0.6, {"mouth": 70.0}, {"mouth": 20.0})
    return dataclasses.replace(shown, frames=frames, explanation=explanation)


def test_what_is_lost_without_a_moment_is_drawn_and_said():
    shown = explained([0.0, 0.125, None, -0.02], seen=(0.5, 0.5, None, 0.5))
    assert build_timeline(shown).losses == pytest.approx([0.0, 0.125, np.nan, -0.02], nan_ok=True)
    page = timeline_html(shown, groups=GROUPS)
    assert 'aria-label="lost without each moment: -2.0 points to 12 points, most at 0.1 seconds"' in page
    assert "the probability of happiness falls" in page
    assert 'class="zero"' in page
    assert "lost without" not in timeline_html(face([0.5] * 4), groups=GROUPS).lower()


def test_it_is_said_in_words_what_speaks_for_an_answer_and_when():
    assert explanation_notes(explained([0.0, 0.125, 0.01, -0.02])) == [
        "For happiness speak: mouth 70%.",
        "Against what it is compared with, its probability is 60%.",
        "Without the quarter of the clip around 0.1 s it would fall by 12 points.",
    ]
    assert "No quarter of the clip speaks for it" in explanation_notes(explained([-0.1] * 4))[-1]
    # What is written as 0.0 points is nothing.
    assert "No quarter of the clip speaks for it" in explanation_notes(explained([0.0004, 0.0, 0.0, 0.0]))[-1]
    assert explanation_notes(face([0.5])) == []


def test_frames_that_the_answer_loses_most_without_are_shown_first():
    assert [frame.frame_index for frame in key_frames(explained([0.0, 0.125, 0.01, -0.02]), most=1)] == [1]
    # Without any of it nothing is lost: the weights are left.
    assert len(key_frames(explained([-0.1] * 4), most=4)) == 4
    assert len(key_frames(explained([0.0004, 0.0, 0.0, 0.0]), most=4)) == 4


def test_bands_of_groups_have_patterns_beside_colours():
    page = timeline_html(face([0.5] * 4), groups=GROUPS)
    band = re.search(r'aria-label="groups.*?</svg>', page).group()
    assert 'class="lined"' in band
    assert 'class="chip lined"' in page
    assert 'class="chip plain"' in page


def test_drawing_leaves_room_up_to_the_end_of_the_clip():
    page = timeline_html(face([0.5] * 10), groups=GROUPS, duration_seconds=4.0)
    assert max(float(x) for x in re.findall(r"L([\d.]+) ", page)) == pytest.approx(250)
    assert ">3 s<" in page


def test_a_timeline_is_a_slider_where_there_is_a_video_to_move():
    values = [0.9] * 4 + [None] * 2
    page = timeline_html(face(values), groups=GROUPS, video="overlay")
    slider = re.search(r'<div class="moments" (.*?)>', page).group(1)
    for attribute in ('role="slider"', 'tabindex="0"', 'data-video="overlay"', 'aria-valuemax="0.600"'):
        assert attribute in slider
    assert 'aria-valuetext="0.0 s: happiness"' in slider
    assert re.findall(r'data-said="(.*?)"', page) == ["happiness"] * 4 + ["face not seen"] * 2
    assert 'role="slider"' not in timeline_html(face(values), groups=GROUPS)


def test_a_moment_is_said_to_show_what_most_of_its_frames_show():
    timeline = build_timeline(face([0.9, 0.9, 0.1, None, None, None]), max_moments=2)
    assert timeline.answers == ("happiness", "face not seen")


def test_every_row_is_described_in_words():
    checker = Checker()
    checker.feed(timeline_html(face([0.9, 0.4, None]), groups=GROUPS))
    assert checker.open == []
    assert any("happiness over time: 40% to 90%, 60% over the clip" in label for label in checker.labels)
    assert len(checker.labels) == 4  # groups, two classes, weight


def test_names_from_a_checkpoint_cannot_become_markup():
    label = '<img src="x" onerror="alert(1)">'
    fine = Scores({label: 0.7, "fear": 0.3})
    only = FramePrediction(0, 0.0, (0.0, 0.0, 9.0, 9.0), fine, Scores({"<b>": 0.7, "negative": 0.3}), 1.0)
    strange = FacePrediction(0, fine, only.coarse, (only,))
    checker = Checker()
    checker.feed(timeline_html(strange, groups={"<b>": [label], "negative": ["fear"]}))
    assert "img" not in checker.tags
    assert "b" not in checker.tags


def test_a_still_has_a_timeline():
    timeline = build_timeline(face([0.7]))
    assert timeline.fine["happiness"] == pytest.approx([0.7])
    assert "happiness" in timeline_html(face([0.7]), groups=GROUPS)


def test_a_face_of_a_single_frame_has_a_band_as_long_as_the_frame():
    page = timeline_html(face([0.7]), groups=GROUPS, duration_seconds=0.4, frame_seconds=0.1)
    assert max(float(x) for x in re.findall(r"L([\d.]+) ", page)) == pytest.approx(250)
    assert "not sure for 0.0 s" not in page


def test_table_says_where_the_face_was_not_seen():
    rows = table_rows(face([0.9, None]))
    assert rows[0] == ["0.00", "happiness", "90.0%", "positive", "90.0%", "10.00%"]
    assert rows[1] == ["0.10", "face not seen", "", "", "", "0.00%"]


def test_faces_are_told_apart_by_number_answer_and_time():
    assert describe_face(face([0.5] * 21)) == "Face 1: happiness 60%, 0.0 to 2.0 s"
