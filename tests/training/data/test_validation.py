import numpy as np
import pytest

from training.data.clip_dataset import Sample
from training.data.validation import cut_validation


def test_the_validation_part_keeps_classes_in_proportion_and_people_whole():
    generator = np.random.default_rng(0)
    samples = [
        Sample(f"{person}/{number}", int(generator.integers(3)), person=f"p{person}")
        for person in range(30)
        for number in range(10)
    ]
    kept, cut = cut_validation(samples, 0.1, 0)
    assert sorted(kept + cut, key=str) == sorted(samples, key=str)
    assert 20 <= len(cut) <= 40
    assert not {sample.person for sample in kept} & {sample.person for sample in cut}
    shares = [np.bincount([sample.label for sample in part], minlength=3) / len(part) for part in (kept, cut)]
    np.testing.assert_allclose(*shares, atol=0.12)
    assert cut_validation(samples, 0.1, 0)[1] == cut
    assert cut_validation(samples, 0.1, 1)[1] != cut
    with pytest.raises(ValueError, match=r"Expected `validation_share` above 0 and up to 0.5, got 0.8"):
        cut_validation(samples, 0.8, 0)


def test_frames_of_a_video_stay_together_in_the_validation_part():
    samples = [Sample(f"video{video}", frame % 2, frame) for video in range(20) for frame in range(6)]
    kept, cut = cut_validation(samples, 0.2, 0)
    assert not {sample.name for sample in kept} & {sample.name for sample in cut}


def test_clips_of_nobody_known_are_divided_to_the_clip():
    labels = np.random.default_rng(0).choice(3, 400, p=[0.7, 0.25, 0.05])
    samples = [Sample(f"clip {number}", int(label)) for number, label in enumerate(labels)]
    _, cut = cut_validation(samples, 0.1, 0)
    shares = np.bincount([sample.label for sample in cut]) / np.bincount(labels)
    np.testing.assert_allclose(shares, 0.1, atol=0.5 / np.bincount(labels).min())


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_is_in_both_parts_and_one_of_one_clip_is_learnt_from(seed):
    samples = [Sample(f"clip {number}", 0) for number in range(40)]
    samples += [Sample("rare 1", 1), Sample("rare 2", 1), Sample("single", 2)]
    kept, cut = cut_validation(samples, 0.1, seed)
    assert [sorted({sample.label for sample in part}) for part in (kept, cut)] == [[0, 1, 2], [0, 1]]
    assert len(cut) == 5


def test_of_two_people_the_one_of_fewer_clips_chooses_the_epoch():
    samples = [Sample(f"clip {number}", number % 3, person="ab"[number < 24]) for number in range(40)]
    _, cut = cut_validation(samples, 0.1, 0)
    assert {sample.person for sample in cut} == {"a"}
    with pytest.raises(ValueError, match=r"enough people or videos .*, got 1 that hold all 24 samples"):
        cut_validation([sample for sample in samples if sample.person == "b"], 0.1, 0)
