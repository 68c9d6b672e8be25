"""Recall and accuracy, as the field reports them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Scorecard = dict[str, Any]


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_labels: int) -> np.ndarray:
    """Count predictions by label.

    Returns:
        Counts `(num_labels, num_labels)`; rows are labels, columns predictions.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    counts = np.zeros((num_labels, num_labels), dtype=int)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def scorecard(predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Scorecard:
    """Weighted (WAR) and unweighted average recall (UAR) in percent, and what they are made of.

    A class without samples has no recall and is left out of UAR, as scikit-learn's `balanced_accuracy_score` does.

    Args:
        predictions: Predicted class of each sample, `(count,)`.
        labels: True class of each sample, `(count,)`.
        names: Class names in order of their index.

    >>> card = scorecard(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), ["smile", "frown"])
    >>> card["war"], card["uar"], card["recall"]
    (75.0, 75.0, {'smile': 50.0, 'frown': 100.0})
    """
    counts = confusion_matrix(predictions, labels, len(names))
    totals = counts.sum(axis=1)
    recall = {
        name: round(float(100 * counts[index, index] / totals[index]), 2)
        for index, name in enumerate(names)
        if totals[index]
    }
    recalls = counts.diagonal()[totals > 0] / totals[totals > 0]
    return {
        "count": len(labels),
        "war": round(float(100 * counts.trace() / counts.sum()), 2),
        "uar": round(float(100 * recalls.mean()), 2),
        "recall": recall,
        "confusion": counts.tolist(),
    }
