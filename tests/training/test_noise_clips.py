import numpy as np
import pytest

from dfer_hf.taxonomy import Emotion
from training.renders import noise_bank, noise_clips
from training.renders.faces import FaceRenderer
from training.renders.noise_bank import NEUTRAL, STRENGTHS, FaceBank, make_bank
from training.renders.noise_clips import NUM_FRAMES, RUN_LENGTH, make_clips, place_runs
from training.renders.render_clips import FrameKind, render_clip

from .face_kits import tiny_kit


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Shards of two clips of small pictures of the tiny face model, rendered in this process."""

    class HerePool:
        def __init__(self, processes):
            assert processes == 2

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        map = staticmethod(map)

    for module in (noise_clips, noise_bank):
        monkeypatch.setattr(module, "ProcessPoolExecutor", HerePool)
        monkeypatch.setattr(module, "load_face_kit", lambda _: tiny_kit())
        monkeypatch.setattr(module, "PICTURE_SIZE", 24)
    monkeypatch.setattr(noise_clips, "SHARD", 2)
    monkeypatch.setattr(noise_bank, "PEOPLE_OF_SHARD", 2)
    return tmp_path


def runs_of(kinds, seeds, emotion=Emotion.FEAR):
    return np.stack([place_runs(emotion, kinds, np.random.default_rng(seed)) for seed in range(seeds)])


def test_each_interruption_is_whole_and_of_its_own_kind():
    for row in runs_of(2, 100):
        kinds, counts = np.unique(row, return_counts=True)
        assert dict(zip(kinds, counts, strict=True)) == {
            FrameKind.TARGET: 8,
            kinds[1]: RUN_LENGTH,
            kinds[2]: RUN_LENGTH,
        }


def test_every_frame_is_off_target_equally_often():
    often = (runs_of(1, 4000) != FrameKind.TARGET).mean(axis=0)
    np.testing.assert_allclose(often, RUN_LENGTH / NUM_FRAMES, atol=0.03)


def test_interruptions_begin_anywhere():
    begins = {
        int(frame)
        for row in runs_of(1, 300)
        for frame in np.flatnonzero(np.diff((row != 0).astype(int)) == 1)
    }
    assert begins == set(range(NUM_FRAMES - 1))  # and at the first frame, where nothing comes before


def test_a_neutral_clip_is_only_covered():
    kinds = runs_of(2, 20, Emotion.NEUTRAL)
    assert set(np.unique(kinds)) == {FrameKind.TARGET, FrameKind.COVERED}


def test_every_clip_is_of_another_person_and_the_emotions_take_turns(small):
    clips = make_clips(small / "kit.npz", small / "test", 3)
    np.testing.assert_array_equal(clips.labels, [0, 1, 2])
    assert clips.frames.shape == (3, NUM_FRAMES, 24, 24)
    assert len(np.unique(clips.frames[:, 0], axis=0)) == 3
    assert (clips.kinds != FrameKind.TARGET).any(axis=1).all()


@pytest.mark.parametrize(
    ("make", "what"), [(make_clips, "clips"), (make_bank, "people")], ids=["clips", "people"]
)
def test_what_is_rendered_is_not_rendered_again_nor_taken_for_another_count(small, monkeypatch, make, what):
    first = make(small / "kit.npz", small / "cache", 3)
    monkeypatch.setattr(noise_clips, "render_shard", None)
    monkeypatch.setattr(noise_bank, "render_shard", None)
    again = make(small / "kit.npz", small / "cache", 3)
    for name, values in vars(first).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    with pytest.raises(ValueError, match=rf"Expected 4 {what} in .*, found 3\. Give the (count|number)"):
        make(small / "kit.npz", small / "cache", 4)


def test_a_bank_shows_every_person_in_every_emotion_and_strength(small):
    bank = make_bank(small / "kit.npz", small / "bank", 3)
    assert bank.pictures.shape == (3, 7, len(STRENGTHS), 24, 24)
    clips = make_clips(small / "kit.npz", small / "test", 3)
    assert not (bank.pictures[:, 0, 0, None] == clips.frames[None, :, 0]).all(axis=(-2, -1)).any()


def told_pictures(num_people=4):
    """Pictures whose grey says whom they show (tens), and what and how strongly (ones)."""
    tones = np.arange(num_people)[:, None, None] * 30 + np.arange(21).reshape(7, 3)[None]
    return np.broadcast_to(tones[..., None, None], (*tones.shape, 40, 40)).astype(np.uint8)


def test_a_composed_clip_is_what_its_truth_says():
    clips = FaceBank(told_pictures()).compose(70, np.random.default_rng(0))
    assert clips.labels.tolist() == [number % 7 for number in range(70)]
    corner = clips.frames[:, :, 0, 0].astype(int)  # never covered
    people, shown = corner // 30, corner % 30 // 3
    assert (people == people[:, :1]).all()
    for label, kinds, emotions, strengths, intensities, frames in zip(
        clips.labels, clips.kinds, shown, corner % 3, clips.intensities, clips.frames, strict=True
    ):
        on = (kinds == FrameKind.TARGET) | (kinds == FrameKind.COVERED)
        assert (emotions[on] == label).all()
        assert (emotions[kinds == FrameKind.NEUTRAL] == NEUTRAL).all()
        others = set(emotions[kinds == FrameKind.OTHER])
        assert len(others) <= 1
        assert not others & {label, NEUTRAL}
        covered = frames.std(axis=(1, 2)) > 0
        assert not covered[kinds != FrameKind.COVERED].any()
        assert covered[kinds == FrameKind.COVERED].all()
        expressive = emotions != NEUTRAL
        assert not intensities[~expressive].any()
        assert (np.abs(intensities - np.array(STRENGTHS)[strengths])[expressive] < 0.16).all()
    again = FaceBank(told_pictures()).compose(70, np.random.default_rng(1))
    assert (again.kinds != clips.kinds).any()


def test_the_pictures_of_a_bank_alone_are_labelled_with_what_they_show():
    stills = FaceBank(told_pictures()).stills()
    tones = stills.frames[:, 0, 0, 0].astype(int) % 30
    np.testing.assert_array_equal(stills.labels, tones // 3)
    expressive = stills.labels != NEUTRAL
    np.testing.assert_allclose(stills.intensities[expressive, 0], np.array(STRENGTHS)[tones[expressive] % 3])


def test_an_interruption_is_held():
    kinds = np.array([0, 3, 3, 3, 2, 2, 0, 3])
    clip = render_clip(
        FaceRenderer(tiny_kit(), 32), Emotion.ANGER, np.random.default_rng(1), num_frames=8, kinds=kinds
    )
    np.testing.assert_array_equal(clip.kinds, kinds)
    assert len({clip.shown[frame] for frame in (1, 2, 3)}) == 1
    assert len(set(clip.intensities[1:4])) == 1
    assert clip.intensities[7] != clip.intensities[1]
    middles = [clip.frames[frame][tuple(clip.points[frame, 30].astype(int)[::-1])] for frame in (4, 5)]
    assert np.abs(np.subtract(*np.array(middles, float))).max() < 70  # one colour under the grain


def test_kinds_for_another_number_of_frames_are_refused():
    with pytest.raises(ValueError, match=r"Expected `kinds` of shape \(8,\), got \(4,\)"):
        render_clip(
            FaceRenderer(tiny_kit(), 32),
            Emotion.ANGER,
            np.random.default_rng(1),
            num_frames=8,
            kinds=np.zeros(4),
        )


def test_a_looped_clip_starts_anywhere_and_ends_as_it_begins():
    renderer, peaks = FaceRenderer(tiny_kit(), 24), []
    for seed in range(8):
        clip = render_clip(
            renderer,
            Emotion.FEAR,
            np.random.default_rng(seed),
            num_frames=8,
            kinds=np.zeros(8, int),
            looped=True,
        )
        peaks.append(int(clip.intensities.argmax()))
        steps = np.linalg.norm(clip.points - np.roll(clip.points, 1, axis=0), axis=2).mean(axis=1)
        assert steps[0] < 2 * steps[1:].max()  # from the last frame to the first is a step like the others
    assert set(peaks) - {2, 3, 4, 5}  # where the middle half of the clip is
