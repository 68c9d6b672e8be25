import cv2
import numpy as np
import pytest
import skimage.data
from matplotlib import cbook

from dfer_hf.faces import Detection, MtcnnFaceDetector, track_faces
from dfer_hf.faces.tracking import MAX_HELD_FRAMES
from dfer_hf.video import Frame, read_frames
from tests.shared_data import SHARED_DATA

CLIPS = SHARED_DATA / "clips"
ASL = ["again", "brother", "hungry", "learn", "night", "sorry", "thanks", "want"]


class ScriptedDetector:
    """Finds what a table says of a frame; the frame's number is written in its first pixels."""

    def __init__(self, script):
        self.script = script
        self.asked = []
        self.batch_sizes = []

    def detect(self, images):
        self.batch_sizes.append(len(images))
        found = []
        for image in images:
            number = int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])
            self.asked.append(number)
            found.append(self.script(number))
        return found


def face(left, top=20.0, *, size=40.0, confidence=0.99):
    points = np.array([(12, 15), (28, 15), (20, 24), (14, 31), (26, 31)]) * (size / 40) + (left, top)
    return Detection((left, top, left + size, top + size), points, confidence)


def scene(seed):
    return np.random.default_rng(seed).integers(0, 256, (9, 16, 3), dtype=np.uint8)


def frames(number, *, fps=30.0, scene_of=lambda _: 0):
    for index in range(number):
        rgb = cv2.resize(scene(scene_of(index)), (320, 180), interpolation=cv2.INTER_NEAREST)
        rgb[0, 0, :2] = divmod(index, 256)
        yield Frame(index, index / fps, rgb)


def follow(script, number, *, fps=30.0, scene_of=lambda _: 0, **settings):
    detector = ScriptedDetector(script)
    tracked = list(track_faces(frames(number, fps=fps, scene_of=scene_of), detector, **settings))
    assert [result.frame.index for result in tracked] == list(range(number))
    return tracked, detector


def ids(result):
    return [item.track_id for item in result.faces]


def test_detection_runs_on_every_sixth_frame_at_30_fps_and_on_the_last():
    _, detector = follow(lambda _: [face(50)], 21)
    assert detector.asked == [0, 6, 12, 18, 20]


def test_detection_keeps_its_rate_in_seconds_at_other_frame_rates():
    assert follow(lambda _: [], 10, fps=5.0)[1].asked == list(range(10))
    assert follow(lambda _: [], 25, fps=60.0)[1].asked == [0, 12, 24]


def test_boxes_and_points_lie_on_the_line_between_detections():
    tracked, _ = follow(lambda number: [face(50 + 2.0 * number)], 13)
    for result in tracked:
        (item,) = result.faces
        expected = face(50 + 2.0 * result.frame.index)
        assert item.box == pytest.approx(expected.box)
        np.testing.assert_allclose(item.points, expected.points)
        assert item.is_interpolated == (result.frame.index % 6 != 0)


def test_interpolation_follows_the_time_not_the_number_of_frames():
    seconds = [0.0, 0.01, 0.02, 0.1, 0.2]
    timed = (Frame(frame.index, second, frame.rgb) for frame, second in zip(frames(5), seconds, strict=True))
    tracked = list(track_faces(timed, ScriptedDetector(lambda number: [face(50 if number == 0 else 60)])))
    assert [result.faces[0].box[0] for result in tracked] == pytest.approx([50, 50.5, 51, 55, 60])


def test_a_face_that_swings_fast_keeps_its_identity_and_its_place():
    def place(number):
        return 120 + 75 * np.sin(2 * np.pi * number / 50)

    tracked, detector = follow(lambda number: [face(place(number))], 90, detect_every_seconds=0.25)
    assert all(ids(result) == [0] for result in tracked)
    missed = [abs(result.faces[0].box[0] - place(result.frame.index)) for result in tracked]
    assert max(missed) < 0.2 * 40
    calm, searched = follow(lambda number: [face(120 + 0.2 * number)], 90, detect_every_seconds=0.25)
    assert len(searched.asked) < len(detector.asked) / 2
    assert all(ids(result) == [0] for result in calm)


def test_a_short_gap_is_filled_and_the_identity_kept():
    tracked, _ = follow(lambda number: [] if number in (12, 18) else [face(50.0 + number)], 37, max_gap_seconds=0.65)
    assert all(ids(result) == [0] for result in tracked)
    assert tracked[15].faces[0].box[0] == pytest.approx(65)
    assert tracked[12].faces[0].is_interpolated


def test_a_long_gap_stays_a_gap_and_the_identity_is_resumed_nearby():
    tracked, _ = follow(lambda number: [] if 18 <= number <= 60 else [face(50.0)], 97)
    present = [bool(result.faces) for result in tracked]
    # Last seen on 12, back on 66; held for half an interval of six frames on either side.
    assert present == [index < 15 or index > 63 for index in range(97)]
    assert {track_id for result in tracked for track_id in ids(result)} == {0}


def test_who_comes_back_elsewhere_or_late_is_somebody_new():
    elsewhere, _ = follow(lambda n: [] if 18 <= n <= 60 else [face(50.0 if n < 18 else 240.0)], 97)
    late, _ = follow(lambda n: [] if 18 <= n <= 150 else [face(50.0)], 200)
    for tracked in (elsewhere, late):
        assert ids(tracked[0]) == [0]
        assert ids(tracked[-1]) == [1]


def test_two_people_crossing_keep_their_identities():
    def script(number):
        return [face(20 + 3.0 * number), face(260 - 3.0 * number, 35.0)][:: 1 if number % 12 else -1]

    tracked, _ = follow(script, 79)
    for result in tracked[6:]:
        first, second = result.faces
        assert (first.track_id, second.track_id) == (0, 1)
    starts = {item.track_id: item.box[0] for item in tracked[0].faces}
    ends = {item.track_id: item.box[0] for item in tracked[-1].faces}
    for track_id in (0, 1):
        assert (starts[track_id] < 100) == (ends[track_id] > 200)


def test_ids_count_up_in_order_of_appearance():
    def script(number):
        return [face(10.0)] + [face(110.0)] * (number >= 12) + [face(210.0)] * (number >= 30)

    tracked, _ = follow(script, 49)
    assert ids(tracked[0]) == [0]
    assert ids(tracked[9]) == [0]
    # Half an interval before it is detected.
    assert ids(tracked[10]) == [0, 1]
    assert ids(tracked[-1]) == [0, 1, 2]


def test_a_false_alarm_of_one_detection_is_dropped_and_takes_no_id():
    def script(number):
        alarm = [face(250.0, 100.0, confidence=0.999)] if number == 12 else []
        return [face(50.0), *alarm] + [face(140.0)] * (number >= 24)

    tracked, _ = follow(script, 61)
    assert all(ids(result) == [0] for result in tracked[:20])
    assert ids(tracked[-1]) == [0, 1]


@pytest.mark.parametrize(("confidence", "seen"), [(0.78, [0]), (0.92, [0, 1])])
def test_who_was_found_once_needs_a_sure_detection_after_a_gap(confidence, seen):
    found = {12: 0.98, 60: confidence, 66: confidence}

    def script(number):
        return [face(50.0)] + ([face(250.0, confidence=found[number])] if number in found else [])

    tracked, _ = follow(script, 91)
    assert sorted({track_id for result in tracked for track_id in ids(result)}) == seen


def test_a_weak_detection_after_a_gap_continues_who_was_found_twice():
    def script(number):
        return [face(50.0)] + [face(250.0, confidence=0.99 if number < 12 else 0.78)] * (not 12 <= number < 60)

    tracked, _ = follow(script, 91)
    assert ids(tracked[-1]) == [0, 1]


def test_a_lone_detection_counts_only_if_the_detector_was_sure():
    sure, _ = follow(lambda number: [face(50.0, confidence=0.99)] if number == 12 else [], 31)
    unsure, _ = follow(lambda number: [face(50.0, confidence=0.93)] if number == 12 else [], 31)
    assert [bool(result.faces) for result in sure] == [9 < index < 15 for index in range(31)]
    assert not any(result.faces for result in unsure)


def test_weak_detections_continue_an_identity_but_start_none():
    weak, _ = follow(lambda _: [face(50.0, confidence=0.8)], 31)
    fading, _ = follow(lambda number: [face(50.0, confidence=0.99 if number < 6 else 0.75)], 31)
    assert not any(result.faces for result in weak)
    assert all(ids(result) == [0] for result in fading)


def test_a_still_gives_all_its_faces():
    tracked, _ = follow(lambda _: [face(50.0), face(150.0, confidence=0.91)], 1)
    assert ids(tracked[0]) == [0, 1]


def test_no_frames_give_nothing():
    assert list(track_faces([], ScriptedDetector(lambda _: []))) == []


def test_a_jump_in_place_or_size_is_another_face():
    place, _ = follow(lambda number: [face(20.0 if number <= 12 else 200.0)], 31)
    size, _ = follow(lambda number: [face(100.0, size=30.0 if number <= 12 else 100.0)], 31)
    for tracked in (place, size):
        assert ids(tracked[0]) == [0]
        assert ids(tracked[-1]) == [1]
        boxes = {0: tracked[0].faces[0].box, 1: tracked[-1].faces[0].box}
        for result in tracked:
            assert all(item.box == pytest.approx(boxes[item.track_id]) for item in result.faces)


@pytest.mark.parametrize("cut", [1, 14, 15, 18, 29])
def test_identities_end_at_a_cut(cut):
    tracked, detector = follow(
        lambda number: [face(50.0 if number < cut else 56.0)], 30, scene_of=lambda index: int(index >= cut)
    )
    assert {cut - 1, cut} <= set(detector.asked)
    for result in tracked[:cut]:
        assert [(item.track_id, item.box[0]) for item in result.faces] in ([(0, 50.0)], [])
    after = {track_id for result in tracked[cut:] for track_id in ids(result)}
    assert 0 not in after
    if 1 < cut < 29:
        assert all(len(result.faces) == 1 for result in tracked)


def test_a_change_of_exposure_is_no_cut():
    def flashing():
        for frame in frames(30):
            yield Frame(frame.index, frame.time_seconds, frame.rgb // 2 + (60 if frame.index == 14 else 0))

    tracked = list(track_faces(flashing(), ScriptedDetector(lambda _: [face(50.0)])))
    assert all(ids(result) == [0] for result in tracked)


def test_frames_in_memory_stay_bounded_and_none_is_given_late():
    taken = 0

    def counted():
        nonlocal taken
        for frame in frames(400):
            taken += 1
            yield frame

    # The face is missed on and off, the hardest case for what must be held back.
    detector = ScriptedDetector(lambda number: [face(50.0)] if number % 48 < 6 else [])
    longest = 0
    for result in track_faces(counted(), detector, batch_size=2):
        longest = max(longest, taken - result.frame.index)
    assert longest <= 15 + 6 + 2 * 6 + 2  # the gap, the interval after it, the batch, and the frames at either end


def test_a_gap_of_too_many_frames_is_not_held_whatever_its_seconds():
    taken = 0

    def counted():
        nonlocal taken
        for frame in frames(600, fps=1000.0):
            taken += 1
            yield frame

    detector = ScriptedDetector(lambda number: [face(50.0)] if number < 40 else [])
    longest = max(taken - result.frame.index for result in track_faces(counted(), detector, batch_size=1))
    assert 20 < longest <= MAX_HELD_FRAMES + 16


def test_the_batch_size_changes_nothing_but_the_calls():
    def script(number):
        return [face(50.0 + number)] if number % 24 else []

    one, asked_singly = follow(script, 100, batch_size=1)
    four, asked_in_fours = follow(script, 100, batch_size=4)
    assert set(asked_singly.batch_sizes) == {1}
    assert asked_in_fours.batch_sizes[:-1] == [4] * (len(asked_in_fours.batch_sizes) - 1)
    for first, second in zip(one, four, strict=True):
        assert [(item.track_id, item.box) for item in first.faces] == [
            (item.track_id, item.box) for item in second.faces
        ]


@pytest.mark.parametrize("settings", [{"detect_every_seconds": -1}, {"max_gap_seconds": -0.1}, {"batch_size": 0}])
def test_settings_out_of_range_are_refused_at_once(settings):
    with pytest.raises(ValueError, match="Expected"):
        track_faces([], ScriptedDetector(lambda _: []), **settings)


@pytest.fixture(scope="module")
def detector():
    return MtcnnFaceDetector()


@pytest.fixture(scope="module")
def portraits():
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        encoded = np.frombuffer(file.read(), dtype=np.uint8)
    hopper = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    hopper = cv2.resize(hopper, (200, 236), interpolation=cv2.INTER_AREA)
    astronaut = cv2.resize(skimage.data.astronaut()[:400, 50:450], (200, 200), interpolation=cv2.INTER_AREA)
    return astronaut, hopper


def moving_portraits(astronaut, hopper, *, number=31, hidden=(), speed=1):
    backdrop = cv2.resize(scene(3) // 4 + 96, (640, 360), interpolation=cv2.INTER_CUBIC)
    for index in range(number):
        rgb = backdrop.copy()
        left, right = 20 + 3 * speed * index, 420 - 2 * speed * index
        rgb[40:240, left : left + 200] = 60 if index in hidden else astronaut
        rgb[100:336, right : right + 200] = hopper
        yield Frame(index, index / 30, rgb)


def test_two_moving_portraits_keep_their_identities(detector, portraits):
    tracked = list(track_faces(moving_portraits(*portraits), detector))
    assert all(ids(result) == [0, 1] for result in tracked)
    for track_id, step in ((0, 3), (1, -2)):
        lefts = np.array([result.faces[track_id].box[0] for result in tracked])
        # The larger face is 0, whoever that is.
        if abs(np.diff(lefts).mean() - step) > 0.2:
            step = {3: -2, -2: 3}[step]
        np.testing.assert_allclose(lefts - lefts[0], step * np.arange(31), atol=5)


def test_a_covered_portrait_is_a_gap_and_the_other_goes_on(detector, portraits):
    tracked = list(track_faces(moving_portraits(*portraits, number=49, hidden=range(14, 40), speed=0), detector))
    covered = [sum(item.box[0] < 300 for item in result.faces) for result in tracked]
    assert covered[:14] == [1] * 14
    assert not any(covered[16:39])
    assert covered[43:] == [1] * 6
    assert {track_id for result in tracked for track_id in ids(result)} == {0, 1}
    assert all(result.faces for result in tracked)


def clip(name):
    path = CLIPS / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set DFER_SHARED_DATA to the folder with the shared data.")
    return path


def track_clip(name, detector):
    tracked = list(track_faces(read_frames(clip(name), max_side=1280), detector))
    seen = [set(ids(result)) for result in tracked]
    return tracked, seen


@pytest.mark.parametrize(
    "name",
    ["asl_hungry.mkv", "single_face.mp4"]
    + [pytest.param(f"asl_{word}.mkv", marks=pytest.mark.slow) for word in ASL if word != "hungry"],
)
def test_a_clip_of_one_person_has_one_identity_throughout(detector, name):
    _, seen = track_clip(name, detector)
    assert set().union(*seen) == {0}
    assert np.mean([bool(people) for people in seen]) >= 0.95


def test_a_face_that_leaves_leaves_a_gap(detector):
    _, seen = track_clip("face_noface.mov", detector)
    assert all(people == {0} for people in seen[:70])
    assert not any(seen[75:])


def test_a_clip_without_people_has_no_face(detector):
    _, seen = track_clip("no_face.mp4", detector)
    assert len(seen) > 90
    assert not any(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "people"),
    [("face-demographics-walking-and-pause.gif", 3), ("head-pose-face-detection-female-and-male.gif", 2)],
)
def test_people_in_a_gif_keep_their_identities(detector, name, people):
    _, seen = track_clip(name, detector)
    assert all(ids_in_frame == set(range(people)) for ids_in_frame in seen)
