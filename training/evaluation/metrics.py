"""Recall, accuracy and F1, as the field reports them."""

from collections.abc import Sequence
from dataclasses import dataclass
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


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Weighted average recall (WAR), which is accuracy, of confusion matrices `(..., C, C)`: shape `(...)`.

    >>> accuracy(np.array([[1, 1], [0, 2]]))
    np.float64(0.75)
    """
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))


def class_recalls(counts: np.ndarray) -> np.ndarray:
    """Recall of each class of confusion matrices `(..., C, C)`: shape `(..., C)`, NaN where a class has no sample.

    >>> class_recalls(np.array([[1, 1], [0, 0]]))
    array([0.5, nan])
    """
    return _divide(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1))


def class_f1_scores(counts: np.ndarray) -> np.ndarray:
    """F1 of each class of confusion matrices `(..., C, C)`: shape `(..., C)`.

    NaN where a class is neither a label nor a prediction; such a class has no F1.

    >>> class_f1_scores(np.array([[1, 1], [0, 2]]))
    array([0.66666667, 0.8       ])
    """
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return _divide(2 * right, counts.sum(axis=-1) + counts.sum(axis=-2))


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN: shape `(...)`.

    >>> mean_of_known(np.array([0.5, np.nan, 1.0]))
    np.float64(0.75)
    """
    known = ~np.isnan(values)
    return np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix and the figures that follow from it.

    Args:
        names: Class names in order of their index.
        counts: Confusion matrix `(C, C)`; rows are labels, columns predictions.
    """

    names: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> "Confusion":
        """Count predicted against true classes, both `(count,)`.

        Raises:
            ValueError: If there is no sample, or an index is no class's.
        """
        if not len(labels) or len(labels) != len(predictions):
            raise ValueError(
                f"Expected as many predictions as labels, and at least one, got {len(predictions)} and {len(labels)}."
            )
        largest = max(int(labels.max()), int(predictions.max()))
        smallest = min(int(labels.min()), int(predictions.min()))
        if smallest < 0 or largest >= len(names):
            raise ValueError(
                f"Expected class indices from 0 to {len(names) - 1}, got {smallest} to {largest}. "
                "Leave out what has no label, and map labels by name."
            )
        return cls(tuple(map(str, names)), confusion_matrix(predictions, labels, len(names)))

    @property
    def war(self) -> float:
        """Accuracy, from 0 to 1."""
        return float(accuracy(self.counts))

    @property
    def uar(self) -> float:
        """Mean recall of the classes that have a sample, from 0 to 1, as scikit-learn's `balanced_accuracy_score`."""
        return float(mean_of_known(class_recalls(self.counts)))

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that are a label or a prediction, from 0 to 1, as scikit-learn's `f1_score`."""
        return float(mean_of_known(class_f1_scores(self.counts)))

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Classes without a sample: they have no recall, and UAR is the mean of the others."""
        return tuple(name for name, total in zip(self.names, self.counts.sum(axis=1), strict=True) if not total)

    def to_dict(self) -> Scorecard:
        """Everything in percent, rounded to four places; None for the recall of an absent class.

        >>> card = Confusion.of(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), ["smile", "frown"]).to_dict()
        >>> card["war"], card["uar"], card["recall"]
        (75.0, 75.0, {'smile': 50.0, 'frown': 100.0})
        """
        return {
            "count": int(self.counts.sum()),
            "war": percent(self.war),
            "uar": percent(self.uar),
            "macro_f1": percent(self.macro_f1),
            "recall": _by_name(self.names, class_recalls(self.counts)),
            "f1": _by_name(self.names, class_f1_scores(self.counts)),
            "absent_classes": list(self.absent_classes),
            "confusion": self.counts.tolist(),
        }


def percent(share: float) -> float | None:
    """A share as percent, rounded to four places; None for NaN.

    >>> percent(1 / 3), percent(float("nan"))
    (33.3333, None)
    """
    return None if np.isnan(share) else round(100 * float(share), 4)


def group_indices(label_names: Sequence[str], groups: dict[str, tuple[str, ...]]) -> np.ndarray:
    """Index of each class's group, `(num_labels,)`.

    >>> group_indices(["joy", "rage", "fear"], {"good": ("joy",), "bad": ("rage", "fear")})
    array([0, 1, 1])
    """
    members = list(groups.values())
    return np.array([next(i for i, group in enumerate(members) if name in group) for name in label_names])


def hierarchy_violations(predicted: np.ndarray, coarse_predicted: np.ndarray, group_of: np.ndarray) -> float:
    """Share of samples, from 0 to 1, whose coarse answer is not the group of their fine answer.

    Args:
        predicted: Fine answers, `(count,)`.
        coarse_predicted: Coarse answers, `(count,)`.
        group_of: Group of each fine class; see `group_indices`.

    >>> hierarchy_violations(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 0]), np.array([0, 1, 1]))
    0.25
    """
    return float((group_of[predicted] != coarse_predicted).mean())


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)


def _by_name(names: Sequence[str], shares: np.ndarray) -> dict[str, float | None]:
    return {name: percent(share) for name, share in zip(names, shares, strict=True)}
