import numpy as np
import pytest

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.synthetic.faces import FaceRenderer
from training.synthetic.render_clips import FrameKind, cover_face, place_kinds, render_clip, rise_and_fall

from ..face_kits import tiny_kit


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(tiny_kit(), 48)


def clip_of(renderer, emotion, seed=0, **fields):
    return render_clip(renderer, emotion, np.random.default_rng(seed), **fields)


@pytest.mark.parametrize("num_off_target", [0, 3, 8])
def test_a_clip_tells_what_each_frame_shows(renderer, num_off_target):
    clip = clip_of(renderer, Emotion.FEAR, num_frames=8, num_off_target=num_off_target)
    assert clip.frames.shape == (8, 48, 48, 3)
    assert clip.points.shape == (8, 68, 2)
    assert (clip.kinds != FrameKind.TARGET).sum() == num_off_target
    for kind, shown, intensity in zip(clip.kinds, clip.shown, clip.intensities, strict=True):
        if kind == FrameKind.OTHER:
            assert shown not in (Emotion.FEAR, Emotion.NEUTRAL)
            assert intensity >= 0.6
        elif kind == FrameKind.NEUTRAL:
            assert (shown, intensity) == (Emotion.NEUTRAL, 0)
        else:
            assert shown is Emotion.FEAR
            assert intensity > 0


def test_a_neutral_clip_is_only_interrupted_by_what_differs(renderer):
    kinds = set()
    for seed in range(4):
        clip = clip_of(renderer, Emotion.NEUTRAL, seed, num_frames=4, num_off_target=3)
        kinds |= set(clip.kinds)
        assert not clip.intensities[clip.kinds != FrameKind.OTHER].any()
    assert kinds == {FrameKind.TARGET, FrameKind.COVERED, FrameKind.OTHER}


def test_covered_frames_are_covered_and_the_camera_stands_still(renderer):
    free, covered = (clip_of(renderer, Emotion.ANGER, 5, num_frames=6, num_off_target=count) for count in (0, 6))
    # The background does not move.
    np.testing.assert_array_equal(free.frames[:, 0, 0].std(axis=0) < 1, True)
    assert np.ptp(free.points.mean(axis=1), axis=0).max() > 0.2  # the head does
    for frame in np.flatnonzero(covered.kinds == FrameKind.COVERED):
        x, y = covered.points[frame, 17:].mean(axis=0).astype(int)
        patch = covered.frames[frame, y - 3 : y + 4, x - 3 : x + 4].astype(float)
        assert np.abs(patch.mean(axis=(0, 1)) - np.median(patch, axis=(0, 1))).max() < 12


def test_a_cover_hides_the_face_and_nothing_far_from_it():
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    points = np.tile(generator.uniform(45, 55, (68, 1)), (1, 2))
    covered = cover_face(rgb, points, generator)
    assert (covered[46:54, 46:54] != rgb[46:54, 46:54]).mean() > 0.9
    np.testing.assert_array_equal(covered[:30], rgb[:30])


@pytest.mark.parametrize("num_frames", [1, 2, 16])
def test_intensity_rises_and_falls(num_frames):
    for seed in range(5):
        intensities = rise_and_fall(num_frames, np.random.default_rng(seed))
        assert intensities.shape == (num_frames,)
        assert (intensities > 0).all() and (intensities <= 1).all()  # noqa: PT018
        peak = intensities.argmax()
        assert (np.diff(intensities[: peak + 1]) >= 0).all()
        assert (np.diff(intensities[peak:]) <= 0).all()


def test_more_off_target_frames_than_frames_are_refused():
    with pytest.raises(ValueError, match="Expected 0 to 4 off-target frames, got 5"):
        place_kinds(4, 5, np.random.default_rng(0))


def test_every_emotion_can_be_shown(renderer):
    for emotion in SEVEN_EMOTIONS:
        assert clip_of(renderer, emotion, num_frames=2).emotion is emotion
