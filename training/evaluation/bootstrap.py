"""How far figures would move with other clips: percentile bootstrap (Efron and Tibshirani 1993, chapter 13)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.metrics import accuracy, class_f1_scores, class_recalls, mean_of_known, percent


@dataclass(frozen=True, eq=False)
class Intervals:
    """Lower and upper ends of confidence intervals, from 0 to 1.

    Args:
        level: Share of the resamples inside, such as 0.95.
        num_resamples: How many there were.
        units: What was drawn, `clips`, or `persons or videos` with all that is of them, and how many there are.
        ends: Lower and upper end of each single figure by name.
        recall_ends: Lower and upper end of each fine class's recall, `(2, C)`; NaN for an absent class.
        label_names: Fine classes in order.
    """

    level: float
    num_resamples: int
    units: tuple[str, int]
    ends: Mapping[str, tuple[float, float]]
    recall_ends: np.ndarray
    label_names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything in percent, rounded to four places."""
        return {
            "level": self.level,
            "resamples": self.num_resamples,
            "drawn": self.units[0],
            "num_drawn": self.units[1],
            **{name: [percent(lower), percent(upper)] for name, (lower, upper) in self.ends.items()},
            "recall": {
                name: [percent(end) for end in ends]
                for name, ends in zip(self.label_names, self.recall_ends.T, strict=True)
            },
        }


def bootstrap(
    labels: np.ndarray,
    predicted: np.ndarray,
    coarse_predicted: np.ndarray,
    *,
    label_names: Sequence[str],
    group_of: np.ndarray,
    persons: Sequence[str] | None = None,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Draw samples with replacement, and see between which ends the figures lie.

    A figure depends on the clips only through how many have which label, answer and coarse answer. Drawing clips is
    therefore one draw from a multinomial distribution over those cells, and drawing persons, with all their clips, one
    over the persons: no loop over resamples.

    Args:
        labels: True fine class of each clip, `(count,)`.
        predicted: Fine answers, `(count,)`.
        coarse_predicted: Coarse answers, `(count,)`.
        label_names: Fine classes in order.
        group_of: Group of each fine class, `(num_labels,)`.
        persons: Who is seen in each clip (or which video a frame is of). Clips of one person are alike, and intervals
            that draw them one by one are too narrow.
        num_resamples: How many samples to draw.
        level: Share of the resamples between the ends.
        seed: Of the draws.

    Raises:
        ValueError: If the level is not between 0 and 1, or there are fewer than two resamples.
    """
    if not 0 < level < 1 or num_resamples < 2:
        raise ValueError(
            f"Expected a level between 0 and 1 and two resamples or more, got {level} and {num_resamples}."
        )
    num_labels, num_groups = len(label_names), int(group_of.max()) + 1
    num_groups = max(num_groups, int(coarse_predicted.max()) + 1)
    shape = (num_labels, num_labels, num_groups)
    cells = np.ravel_multi_index((labels, predicted, coarse_predicted), shape)
    used, cell_of = np.unique(cells, return_inverse=True)  # most cells are empty
    if persons is None:
        rows, multiplicity = np.eye(len(used), dtype=int), np.bincount(cell_of)
        units = ("clips", len(labels))
    else:
        names, person_of = np.unique(np.asarray(persons, dtype=str), return_inverse=True)
        table = np.zeros((len(names), len(used)), dtype=int)
        np.add.at(table, (person_of, cell_of), 1)
        rows, multiplicity = np.unique(table, axis=0, return_counts=True)
        units = ("persons or videos", len(names))
    draws = np.random.default_rng(seed).multinomial(units[1], multiplicity / multiplicity.sum(), size=num_resamples)
    joint = np.zeros((num_resamples, num_labels * num_labels * num_groups), dtype=int)
    joint[:, used] = draws @ rows
    joint = joint.reshape(num_resamples, *shape)

    fine = joint.sum(axis=3)  # (resamples, labels, labels)
    membership = np.eye(num_groups, dtype=int)[group_of]  # (labels, groups)
    coarse = np.einsum("rlpg,lk->rkg", joint, membership)
    coarse_of_fine = np.einsum("rlp,lk,pg->rkg", fine, membership, membership, optimize=True)
    agrees = np.einsum("rlpg,pg->r", joint, membership)
    recalls = class_recalls(fine)
    values = {
        "war": accuracy(fine),
        "uar": mean_of_known(recalls),
        "macro_f1": mean_of_known(class_f1_scores(fine)),
        "coarse_war": accuracy(coarse),
        "coarse_uar": mean_of_known(class_recalls(coarse)),
        "group_accuracy": accuracy(coarse_of_fine),
        "hierarchy_violations": 1 - agrees / joint.sum(axis=(1, 2, 3)),
    }
    tails = 100 * np.array([(1 - level) / 2, (1 + level) / 2])
    ends = {}
    for name, resampled in values.items():
        lower, upper = np.percentile(resampled, tails)
        ends[name] = (float(lower), float(upper))
    recall_ends = np.full((2, num_labels), np.nan)
    present = ~np.isnan(recalls).all(axis=0)
    recall_ends[:, present] = np.nanpercentile(recalls[:, present], tails, axis=0)
    return Intervals(level, num_resamples, units, ends, recall_ends, tuple(map(str, label_names)))


@dataclass(frozen=True, eq=False)
class Resamples:
    """The same resamples for several systems, so that differences between them have intervals too.

    Args:
        labels: True class of each clip, `(count,)`.
        drawn: How often each clip is in each resample, `(resamples, count)`.
    """

    labels: np.ndarray
    drawn: np.ndarray

    @classmethod
    def of(
        cls, labels: np.ndarray, *, persons: Sequence[str] | None = None, num_resamples: int = 1000, seed: int = 0
    ) -> "Resamples":
        """Draw persons with all their clips where they are known, and clips of each class otherwise."""
        generator, drawn = np.random.default_rng(seed), np.zeros((num_resamples, len(labels)), dtype=np.int32)
        if persons is not None:
            names, person_of = np.unique(np.asarray(persons, dtype=str), return_inverse=True)
            return cls(
                labels, generator.multinomial(len(names), [1 / len(names)] * len(names), num_resamples)[:, person_of]
            )
        for label in np.unique(labels):
            places = np.flatnonzero(labels == label)
            drawn[:, places] = generator.multinomial(len(places), [1 / len(places)] * len(places), num_resamples)
        return cls(labels, drawn)

    def uar(self, is_right: np.ndarray) -> np.ndarray:
        """Mean recall in each resample, `(resamples,)`, of answers that are right or not, `(count,)`."""
        members = np.eye(int(self.labels.max()) + 1)[self.labels]  # (count, classes)
        totals = self.drawn @ members
        right = self.drawn @ (members * is_right[:, None])
        return mean_of_known(np.where(totals > 0, right / np.maximum(totals, 1), np.nan))

    def mean(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted mean of values `(count,)` in each resample, `(resamples,)`."""
        return (self.drawn @ (values * weights)) / (self.drawn @ weights)


def ends_of(values: np.ndarray, *, level: float = 0.95) -> list[float | None]:
    """Ends of the interval that holds a share of resampled values, in percent."""
    lower, upper = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return [percent(lower), percent(upper)]
