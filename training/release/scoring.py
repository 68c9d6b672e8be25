"""Figures of answers: mean recall and accuracy with their intervals, and whether confidence holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.bootstrap import Resamples, ends_of
from training.evaluation.calibration import Reliability
from training.evaluation.conformal import least_ambiguous, sets_of
from training.evaluation.metrics import class_recalls, confusion_matrix, mean_of_known, percent
from training.evaluation.predict import softmax
from training.release.systems import NAMES, ClipOutputs, System


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked, and what is right.

    Args:
        labels: True classes, `(count,)`.
        weights: What share of its data set each case stands for, `(count,)`.
        held_out: Which cases confidence was not calibrated on, `(count,)`.
        persons: Who is seen; None where nobody knows.
    """

    labels: np.ndarray
    weights: np.ndarray
    held_out: np.ndarray
    persons: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, places: np.ndarray) -> "Asked":
        """Keep cases."""
        persons = None if self.persons is None else tuple(np.array(self.persons)[places])
        return Asked(self.labels[places], self.weights[places], self.held_out[places], persons)

    @classmethod
    def join(cls, parts: Sequence["Asked"]) -> "Asked":
        """Put cases together whose persons, if any, do not matter."""
        labels, weights, held_out = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "weights", "held_out")
        )
        return cls(labels, weights, held_out)


def scorecard(asked: Asked, decided: np.ndarray) -> dict[str, Any]:
    """Recalls, UAR, and accuracy as it would be over the whole data set, with 95 % intervals; in percent."""
    counts = confusion_matrix(decided, asked.labels, len(NAMES))
    recalls, is_right = class_recalls(counts), decided == asked.labels
    resamples = Resamples.of(asked.labels, persons=asked.persons)
    return {
        "count": len(asked),
        "uar": percent(float(mean_of_known(recalls))),
        "uar_interval": ends_of(resamples.uar(is_right)),
        "war": percent(float(np.average(is_right, weights=asked.weights))),
        "war_interval": ends_of(resamples.mean(is_right, asked.weights)),
        "recall": {name: percent(value) for name, value in zip(NAMES, recalls, strict=True)},
        "confusion": counts.tolist(),
    }


def difference(asked: Asked, decided: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """How far UAR is above that of other answers to the same cases, in points, with its 95 % interval."""
    resamples, rights = (
        Resamples.of(asked.labels, persons=asked.persons),
        (decided == asked.labels, other == asked.labels),
    )
    ours, theirs = (resamples.uar(is_right) for is_right in rights)
    exact = [float(mean_of_known(class_recalls(confusion_matrix(answers, asked.labels, len(NAMES)))))
             for answers in (decided, other)]  # fmt: skip
    return {"points": percent(exact[0] - exact[1]), "interval": ends_of(ours - theirs)}


def confidence(system: System, asked: Asked, outputs: ClipOutputs) -> dict[str, Any]:
    """Expected calibration error of the best class (15 bins), coverage and size of the prediction sets.

    They are of the cases that were not calibrated on, and in percent but for the size and the bins.
    """
    config, places = system.model.config, np.flatnonzero(asked.held_out)
    labels, weights = asked.labels[places], asked.weights[places] / asked.weights[places].sum()
    probabilities = softmax(outputs.logits[places] / config.temperature)
    reliability = Reliability.of(probabilities, labels, weights=weights)
    found: dict[str, Any] = {
        "count": len(places),
        "ece": percent(reliability.expected_calibration_error),
        "bins": {
            "share": [round(float(value), 6) for value in reliability.counts],
            "confidence": [None if np.isnan(value) else round(float(value), 6) for value in reliability.confidence],
            "accuracy": [None if np.isnan(value) else round(float(value), 6) for value in reliability.accuracy],
        },
    }
    if config.set_threshold is not None:
        # As in `Scores.prediction_set`: whatever is as probable as the threshold, and the answer.
        sets = sets_of(least_ambiguous(probabilities), 1 - config.set_threshold)
        sets[np.arange(len(places)), outputs.decided[places]] = True
        is_covered, sizes = sets[np.arange(len(places)), labels], sets.sum(axis=1)
        resamples = Resamples.of(labels)
        found |= {
            "coverage": percent(float(np.average(is_covered, weights=weights))),
            "coverage_interval": ends_of(resamples.mean(is_covered, weights)),
            "set_size": round(float(np.average(sizes, weights=weights)), 4),
            "unsure": percent(float(np.average(sizes > 1, weights=weights))),
        }
    return found
