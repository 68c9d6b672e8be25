"""Sets of classes that hold the true one in a given share of cases: split conformal prediction.

A score says how badly each class fits; a set holds the classes whose score is at most a quantile of the true classes'
scores on calibration data (Vovk, Gammerman and Shafer 2005). The share holds for data like those, and only for those.
"""

from collections.abc import Callable

import numpy as np

COVERAGE = 0.9
PENALTY, FREE_CLASSES = 0.1, 1
Score = Callable[[np.ndarray], np.ndarray]


def least_ambiguous(probabilities: np.ndarray) -> np.ndarray:
    """One minus the probability: the smallest sets on average (LAC; Sadinle, Lei and Wasserman 2019)."""
    return 1 - probabilities


def adaptive(probabilities: np.ndarray) -> np.ndarray:
    """The probability of all more probable classes, without randomisation (APS; Romano, Sesia and Candès 2020).

    The best class scores 0, so that no set is empty.

    >>> adaptive(np.array([[0.25, 0.5, 0.25]]))
    array([[0.5 , 0.  , 0.75]])
    """
    order = (-probabilities).argsort(axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    return np.take_along_axis(ranked.cumsum(axis=1) - ranked, order.argsort(axis=1), axis=1)


def regularised(probabilities: np.ndarray) -> np.ndarray:
    """`adaptive`, and a penalty for each class beyond the first (RAPS; Angelopoulos et al. 2021)."""
    ranks = (-probabilities).argsort(axis=1, kind="stable").argsort(axis=1) + 1
    return adaptive(probabilities) + PENALTY * np.maximum(0, ranks - FREE_CLASSES)


SCORES: dict[str, Score] = {"LAC": least_ambiguous, "APS": adaptive, "RAPS": regularised}


def conformal_quantile(
    scores: np.ndarray, labels: np.ndarray, *, coverage: float = COVERAGE, weights: np.ndarray | None = None
) -> float:
    """Find the score up to which a class has to be in the sets.

    Args:
        scores: Of calibration data, `(count, classes)`.
        labels: True classes, `(count,)`.
        coverage: Share of cases whose set is to hold the true class.
        weights: What share of a whole each case stands for, `(count,)`; all alike where left out.

    Returns:
        The quantile with its correction for finite data, as if one more case fitted worst; infinite where there are
        too few cases.

    >>> conformal_quantile(np.arange(10.0)[:, None] / 10, np.zeros(10, int), coverage=0.8)
    0.8
    """
    of_truth = scores[np.arange(len(labels)), labels]
    weights = np.ones(len(labels)) if weights is None else weights
    order = of_truth.argsort()
    reached = weights[order].cumsum() / (weights.sum() + weights.max())
    place = int(np.searchsorted(reached, coverage - 1e-12))
    return float(of_truth[order[place]]) if place < len(order) else float("inf")


def sets_of(scores: np.ndarray, quantile: float) -> np.ndarray:
    """Which classes are in the sets, `(count, classes)`; the best one always is."""
    sets = scores <= quantile
    sets[np.arange(len(scores)), scores.argmin(axis=1)] = True
    return sets
