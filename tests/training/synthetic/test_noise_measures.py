import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from training.synthetic.noise_measures import Observed, measure, rank_correlation, relative_weight, with_interval
from training.synthetic.render_clips import FrameKind

NUM_CLIPS, NUM_FRAMES, NUM_LABELS = 24, 8, 7


def observed(weights=None, seed=0):
    """A bed in miniature, two frames of each kind of noise somewhere in every clip, under given or equal weights."""
    generator = np.random.default_rng(seed)
    kinds = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    kinds = np.stack([generator.permutation(kinds) for _ in range(NUM_CLIPS)])
    intensities = generator.uniform(0.1, 1, kinds.shape) * (kinds != FrameKind.NEUTRAL)
    equal = np.full(kinds.shape, 1 / NUM_FRAMES)
    labels = np.arange(NUM_CLIPS) % NUM_LABELS
    probabilities = np.eye(NUM_LABELS)[labels]
    frames = np.repeat(probabilities[:, None], NUM_FRAMES, axis=1)
    given = equal if weights is None else weights(kinds, intensities)
    return Observed(labels, kinds, intensities, probabilities, frames, given)


def normalised(weights):
    return weights / weights.sum(axis=1, keepdims=True)


def test_mean_pooling_gives_noise_its_share():
    figures = measure(observed())
    for name in ("noise", "neutral", "covered", "other", "noise by place"):
        assert figures[name] == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert figures["intensity"] == {"value": 0, "low": 0, "high": 0}


def test_weight_is_told_apart_by_kind_of_noise():
    of_kind = np.array([4, 1, 2, 3])
    figures = measure(observed(lambda kinds, _: normalised(of_kind[kinds].astype(float))))
    # Of every clip's total of 2 · (4 + 1 + 2 + 3), two of eight frames carry 2 · their own.
    expected = {"neutral": 0.4, "covered": 0.8, "other": 1.2, "noise": 12 / 20 / (6 / 8)}
    assert {name: figures[name]["value"] for name in expected} == pytest.approx(expected)
    assert figures["noise"]["high"] == pytest.approx(figures["noise"]["low"])  # all clips are alike


def test_clips_without_a_kind_of_noise_do_not_count_for_it():
    full = observed(lambda kinds, _: normalised(np.where(kinds == FrameKind.COVERED, 0.5, 1.0)))
    kinds = full.kinds.copy()
    kinds[::2][kinds[::2] == FrameKind.COVERED] = FrameKind.TARGET
    figures = measure(dataclasses.replace(full, kinds=kinds))
    assert figures["covered"] == pytest.approx(dict.fromkeys(("value", "low", "high"), 0.5 / 7 * 8))


def test_a_habit_of_places_is_told_from_seeing():
    habit = np.linspace(1, 3, NUM_FRAMES)
    figures = measure(observed(lambda kinds, _: normalised(np.broadcast_to(habit, kinds.shape))))
    assert figures["noise"] == pytest.approx(figures["noise by place"], abs=0.02)
    seeing = measure(observed(lambda kinds, _: normalised(np.where(kinds == FrameKind.TARGET, 3.0, 1.0))))
    assert seeing["noise"]["high"] < 0.7
    assert seeing["noise by place"]["value"] > 0.9


@pytest.mark.parametrize("sign", [1, -1])
def test_weight_that_follows_intensity_correlates_with_it(sign):
    figures = measure(observed(lambda _, intensities: normalised(np.exp(sign * intensities))))
    assert figures["intensity"] == {"value": sign, "low": sign, "high": sign}
    assert abs(figures["intensity by place"]["value"]) < 0.9


def test_intensity_is_measured_on_target_frames_of_an_expression_alone():
    def follow(kinds, intensities):
        return normalised(np.where(kinds == FrameKind.TARGET, np.exp(intensities), np.exp(-3 * intensities)))

    full = observed(follow)
    intensities = full.intensities.copy()
    # A neutral clip, interrupted by an expression.
    intensities[3][full.kinds[3] == FrameKind.TARGET] = 0
    figures = measure(dataclasses.replace(full, intensities=intensities))
    assert figures["intensity"]["value"] == 1


def test_another_expression_is_compared_with_target_frames_as_strong():
    """Weight that follows strength alone gives another expression more, but not more than its strength explains."""
    full = observed()
    intensities = np.where(full.kinds == FrameKind.OTHER, 0.8, 0.2) * (full.kinds != FrameKind.NEUTRAL)
    first_target = np.arange(NUM_FRAMES) == (full.kinds == FrameKind.TARGET).argmax(axis=1)[:, None]
    intensities[first_target] = 0.8
    weights = normalised(intensities + 0.1)
    figures = measure(dataclasses.replace(full, intensities=intensities, frame_weights=weights))
    assert figures["other"]["low"] > 1.5
    assert figures["other as strong"] == pytest.approx({"value": 1, "low": 1, "high": 1})


def test_rank_correlation_is_that_of_scipy():
    generator = np.random.default_rng(0)
    for _ in range(5):
        first, second = generator.integers(0, 4, (2, 12))  # with ties
        assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation(np.ones(4), np.arange(4)) == 0


def test_accuracy_of_the_clip_stands_beside_that_of_its_frames():
    full = observed()
    wrong = np.roll(full.frame_probabilities[:6], 1, axis=-1)
    frames = np.concatenate([wrong, full.frame_probabilities[6:]])
    # One frame of eight does not turn their mean.
    frames[6:, 0] = np.roll(frames[6:, 0], 1, axis=-1)
    clips = np.concatenate([full.probabilities[:21], np.roll(full.probabilities[21:], 1, axis=-1)])
    figures = measure(dataclasses.replace(full, frame_probabilities=frames, probabilities=clips))
    assert figures["accuracy"]["value"] == pytest.approx(21 / 24)
    assert figures["accuracy of frames"]["value"] == pytest.approx(18 / 24)
    gained = figures["accuracy gained"]
    assert gained["value"] == pytest.approx(3 / 24)
    assert gained["low"] < 0 < gained["high"]


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator, covered = np.random.default_rng(0), 0
    for _ in range(100):
        figure = with_interval(np.mean, (generator.normal(size=40),), generator)
        covered += figure["low"] < 0 < figure["high"]
    assert 88 <= covered <= 99


def test_relative_weight_sums_over_clips_before_it_divides():
    weights = np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0]])
    chosen = np.array([[True, False, False, False], [True, True, True, False]])
    assert relative_weight(weights, chosen) == pytest.approx((0.5 + 1) / (1 / 4 + 3 / 4))


def test_weights_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match=r"Expected frame weights that sum to 1 in each clip, got sums from 8"):
        measure(observed(lambda kinds, _: np.ones(kinds.shape)))


def test_a_bed_without_a_kind_of_noise_is_refused():
    full = observed()
    kinds = np.where(full.kinds == FrameKind.OTHER, FrameKind.TARGET, full.kinds)
    with pytest.raises(ValueError, match="Expected clips to measure, got none"):
        measure(dataclasses.replace(full, kinds=kinds))
