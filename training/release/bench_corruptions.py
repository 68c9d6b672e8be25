"""Ten corruptions in five severities, on stills: mean accuracy under corruption, and its share of the clean one's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.data.corruptions import SEVERITIES, corrupt
from training.evaluation.bootstrap import Resamples, ends_of
from training.evaluation.metrics import class_recalls, confusion_matrix, mean_of_known, percent
from training.release.bench_data import ferplus_faces, ferplus_split
from training.release.bench_room import Room
from training.release.scoring import confidence
from training.release.systems import NAMES, System

STILLS_PER_CLASS = 40
CELLS = [(corruption, severity) for corruption in SEVERITIES for severity in range(1, 6)]


def cells_in_turn(count: int) -> np.ndarray:
    """Which of `CELLS` each of so many crops gets, `(count,)`.

    Neighbours, which are often of one class, get far apart ones; all are used about as often.
    """
    return np.arange(count) * 23 % len(CELLS)


def corrupt_in_turn(crops: np.ndarray) -> np.ndarray:
    """Corrupt each crop `(count, 112, 112, 3)` in one of the fifty ways."""
    return np.concatenate([
        corrupt(crops[place : place + 1], *CELLS[cell], seed=place)
        for place, cell in enumerate(cells_in_turn(len(crops)))
    ])  # fmt: skip


def measure_corruptions(systems: Sequence[System], room: Room) -> dict[str, Any]:
    """Answer stills of FER+'s valid split, each corrupted in one of the fifty ways, beside the clean ones.

    mPC is the mean of accuracies over corruptions and severities, here of UAR; rPC is its share of the clean UAR
    (Michaelis et al. 2019). A corruption's own figure is the mean over its severities. Each crop is seen once, so that
    only the figures over all are exact enough to compare systems.
    """
    faces = ferplus_faces(ferplus_split(room.folder("ferplus")), STILLS_PER_CLASS)
    corrupted, cells = corrupt_in_turn(faces.crops), cells_in_turn(len(faces))
    severities = np.array([CELLS[cell][1] for cell in cells])
    names = np.array([CELLS[cell][0] for cell in cells])
    labels, resamples = faces.asked.labels, Resamples.of(faces.asked.labels)
    measured = {}
    for system in systems:
        clean, outputs = system.answer_stills(faces.crops).decided, system.answer_stills(corrupted)
        decided, is_right = outputs.decided, outputs.decided == labels
        mean, clean_mean = uar(decided, labels), uar(clean, labels)
        shares = resamples.uar(is_right) / resamples.uar(clean == labels)
        measured[system.name] = {
            "count": len(faces),
            "clean": percent(clean_mean),
            "mpc": percent(mean),
            "mpc_interval": ends_of(resamples.uar(is_right)),
            "rpc": percent(mean / clean_mean),
            "rpc_interval": ends_of(shares),
            "by_severity": {str(level): percent(uar(decided[severities == level], labels[severities == level]))
                            for level in range(1, 6)},
            "accuracy_by_corruption": {name: percent(float(np.average(
                is_right[names == name], weights=faces.asked.weights[names == name]))) for name in SEVERITIES},
            "confidence": confidence(system, faces.asked, outputs),
        }  # fmt: skip
    return measured


def uar(decided: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall of answers, from 0 to 1."""
    return float(mean_of_known(class_recalls(confusion_matrix(decided, labels, len(NAMES)))))
