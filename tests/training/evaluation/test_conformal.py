import numpy as np
import pytest

from training.evaluation.calibration import Reliability, fit_temperature
from training.evaluation.conformal import SCORES, conformal_quantile, sets_of
from training.evaluation.predict import softmax


def answers(count, seed):
    """Logits that are as often right as their probabilities say."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 7))
    labels = (softmax(logits).cumsum(axis=1) > generator.random((count, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("name", SCORES)
def test_nine_sets_in_ten_hold_the_true_class_of_new_cases(name):
    logits, labels = answers(4000, 0)
    quantile = conformal_quantile(SCORES[name](softmax(logits)), labels)
    logits, labels = answers(4000, 1)
    sets = sets_of(SCORES[name](softmax(logits)), quantile)
    assert sets[np.arange(len(labels)), labels].mean() == pytest.approx(0.9, abs=0.015)


def test_least_ambiguous_sets_are_the_smallest():
    logits, labels = answers(4000, 0)
    sizes = {
        name: sets_of(score(softmax(logits)), conformal_quantile(score(softmax(logits)), labels)).sum()
        for name, score in SCORES.items()
    }
    assert min(sizes, key=lambda name: sizes[name]) == "LAC"


def test_a_set_is_never_empty():
    assert sets_of(np.array([[0.9, 0.8]]), 0.1).tolist() == [[False, True]]


def test_weights_count_as_repetitions_do():
    logits, labels = answers(300, 2)
    weights = np.random.default_rng(0).integers(1, 4, 300)
    repeated = np.repeat(np.arange(300), weights)
    probabilities = softmax(logits)
    ours = Reliability.of(probabilities, labels, weights=weights / weights.sum())
    theirs = Reliability.of(probabilities[repeated], labels[repeated])
    assert ours.expected_calibration_error == pytest.approx(theirs.expected_calibration_error)
    fitted = fit_temperature(logits, labels, weights.astype(float)).temperature
    assert fitted == pytest.approx(fit_temperature(logits[repeated], labels[repeated]).temperature)
    scores = SCORES["LAC"](probabilities)
    quantile = conformal_quantile(scores[repeated], labels[repeated])
    assert conformal_quantile(scores, labels, weights=weights) == pytest.approx(quantile, abs=0.02)
