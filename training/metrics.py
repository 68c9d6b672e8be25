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


def average_recalls(counts: np.ndarray) -> tuple[float, float]:
    """Weighted (WAR, which is accuracy) and unweighted average recall (UAR), from 0 to 1.

    A class without samples has no recall and is left out of UAR, as scikit-learn's `balanced_accuracy_score` does.

    Args:
        counts: A confusion matrix, rows are labels.

    >>> average_recalls(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0]]))
    (0.75, 0.75)
    """
    totals = counts.sum(axis=1)
    recalls = counts.diagonal()[totals > 0] / totals[totals > 0]
    return float(counts.trace() / counts.sum()), float(recalls.mean())


def scorecard(predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Scorecard:
    """Average recalls in percent, rounded, and what they are made of; see `average_recalls`.

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
    war, uar = average_recalls(counts)
    return {
        "count": len(labels),
        "war": round(100 * war, 2),
        "uar": round(100 * uar, 2),
        "recall": recall,
        "confusion": counts.tolist(),
    }
