import numpy as np
import pytest

from dfer_hf.taxonomy import Emotion
from training.synthetic import noise_bank
from training.synthetic.noise_bank import NEUTRAL, STRENGTHS, FaceBank, make_bank
from training.synthetic.noise_clips import NUM_FRAMES, RUN_LENGTH, place_runs
from training.synthetic.render_clips import FrameKind

from ..face_kits import tiny_kit


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Shards of two people, small pictures of the tiny face model, rendered in this process."""

    class HerePool:
        def __init__(self, processes):
            assert processes == 2

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        map = staticmethod(map)

    monkeypatch.setattr(noise_bank, "ProcessPoolExecutor", HerePool)
    monkeypatch.setattr(noise_bank, "load_face_kit", lambda _: tiny_kit())
    monkeypatch.setattr(noise_bank, "PICTURE_SIZE", 24)
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
    begins = {int(frame) for row in runs_of(1, 300) for frame in np.flatnonzero(np.diff((row != 0).astype(int)) == 1)}
    # And at the first frame, where nothing comes before.
    assert begins == set(range(NUM_FRAMES - 1))


def test_a_neutral_clip_is_only_covered():
    kinds = runs_of(2, 20, Emotion.NEUTRAL)
    assert set(np.unique(kinds)) == {FrameKind.TARGET, FrameKind.COVERED}


def test_a_bank_shows_every_person_in_every_emotion_and_strength(small, monkeypatch):
    bank = make_bank(small / "kit.npz", small / "bank", 3)
    assert bank.pictures.shape == (3, 7, len(STRENGTHS), 24, 24)
    assert len(np.unique(bank.pictures[:, 0, 0], axis=0)) == 3
    # What is rendered is not rendered again.
    monkeypatch.setattr(noise_bank, "render_shard", None)
    np.testing.assert_array_equal(make_bank(small / "kit.npz", small / "bank", 3).pictures, bank.pictures)
    with pytest.raises(ValueError, match=r"Expected 4 people in .*, found 3\. Give the number it was made with"):
        make_bank(small / "kit.npz", small / "bank", 4)


def told_pictures(num_people=4):
    """Pictures whose grey says whom they show (tens), and what and how strongly (ones)."""
    tones = np.arange(num_people)[:, None, None] * 30 + np.arange(21).reshape(7, 3)[None]
    return np.broadcast_to(tones[..., None, None], (*tones.shape, 40, 40)).astype(np.uint8)


def test_a_composed_clip_is_what_its_truth_says():
    clips = FaceBank(told_pictures()).compose(70, np.random.default_rng(0))
    assert clips.labels.tolist() == [number % 7 for number in range(70)]
    corner = clips.frames[:, :, 0, 0].astype(int)  # never covered
    strangers = 0
    for label, kinds, people, emotions, strengths, intensities, frames in zip(
        clips.labels, clips.kinds, corner // 30, corner % 30 // 3, corner % 3, clips.intensities, clips.frames,
        strict=True,
    ):  # fmt: skip
        own = (kinds == FrameKind.TARGET) | (kinds == FrameKind.COVERED)
        assert (emotions[own] == label).all()
        assert len(set(people[own])) == 1
        assert (emotions[kinds == FrameKind.NEUTRAL] == NEUTRAL).all()
        others = set(emotions[kinds == FrameKind.OTHER])
        assert len(others) <= 1
        assert not others & {label, NEUTRAL}
        strangers += (people[~own] != people[own][0]).any()
        covered = frames.std(axis=(1, 2)) > 0
        assert not covered[kinds != FrameKind.COVERED].any()
        assert covered[kinds == FrameKind.COVERED].all()
        expressive = emotions != NEUTRAL
        assert not intensities[~expressive].any()
        assert (np.abs(intensities - np.array(STRENGTHS)[strengths])[expressive] < 0.16).all()
    assert strangers > 10
    again = FaceBank(told_pictures()).compose(70, np.random.default_rng(1))
    assert (again.kinds != clips.kinds).any()


def test_clips_to_measure_with_are_of_other_people_and_all_interrupted():
    train, test = FaceBank(told_pictures()).divide(1)
    assert (len(train.pictures), len(test.pictures)) == (3, 1)
    clips = test.compose(28, np.random.default_rng(0), least_runs=1)
    assert set(np.unique(clips.frames[:, :, 0, 0] // 30)) == {3}
    assert (clips.kinds != FrameKind.TARGET).any(axis=1).all()


def test_the_pictures_of_a_bank_alone_are_labelled_with_what_they_show():
    stills = FaceBank(told_pictures()).stills()
    tones = stills.frames[:, 0, 0, 0].astype(int) % 30
    np.testing.assert_array_equal(stills.labels, tones // 3)
    expressive = stills.labels != NEUTRAL
    np.testing.assert_allclose(stills.intensities[expressive, 0], np.array(STRENGTHS)[tones[expressive] % 3])
