"""Compute the figures of `results.json` from predictions of one split or of pooled folds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.cache.prepared import differing
from training.evaluation.bootstrap import Intervals, bootstrap
from training.evaluation.calibration import calibration
from training.evaluation.metrics import Confusion, hierarchy_violations, percent
from training.evaluation.predict import Predictions
from training.evaluation.prediction_files import SUFFIXES

RESULTS, PREDICTIONS = "results.json", "predictions"
NUM_RESAMPLES = 1000
SEED = 0
LEAST_PERSONS = 10
"""With fewer persons the resamples are too alike for an interval; with one person they are all the same."""


class OtherResultsError(ValueError):
    """A folder holds results of another measurement, which are not overwritten."""


def refuse_other_results(folder: Path, results: Mapping[str, Any], identity: Sequence[str]) -> None:
    """Make sure that a folder has no results, or those of the same measurement.

    Args:
        folder: Where results are to be written.
        results: The new results, as far as they are known.
        identity: Entries that tell one measurement from another.

    Raises:
        OtherResultsError: If it has others, or predictions of which nothing is known.
    """
    path = folder / RESULTS
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if known is None and not any((folder / f"{PREDICTIONS}{suffix}").is_file() for suffix in SUFFIXES):
        return
    there, asked = differing(
        {name: (known or {}).get(name) for name in identity}, {name: results[name] for name in identity}
    )
    if there:
        raise OtherResultsError(
            f"Expected no other results in {folder}, but there are those of {there}, and the new ones are of {asked}. "
            "Give another --output, or move the folder away."
        )


def fine_confusion(predictions: Predictions) -> Confusion:
    """Count the fine answers against the truth."""
    return Confusion.of(predictions.predicted, predictions.labels, predictions.label_names)


def coarse_confusion(predictions: Predictions) -> Confusion:
    """Count the model's own coarse answers against the groups of the truth."""
    return Confusion.of(predictions.coarse_predicted, predictions.coarse_labels, predictions.group_names)


def group_confusion(predictions: Predictions) -> Confusion:
    """Count the groups of the fine answers against those of the truth: AEN's three emotions (Sec. 4.2)."""
    of_answers = predictions.group_of[predictions.predicted]
    return Confusion.of(of_answers, predictions.coarse_labels, predictions.group_names)


def cascade_confusion(predictions: Predictions) -> Confusion:
    """Count the best class within the model's coarse answer against the truth: CFC-SP's hard choice (Sec. 3.2)."""
    in_group = predictions.group_of[None] == predictions.coarse_predicted[:, None]
    chosen = np.where(in_group, predictions.logits, -np.inf).argmax(axis=1)
    return Confusion.of(chosen, predictions.labels, predictions.label_names)


def within_confusion(predictions: Predictions) -> Confusion | None:
    """Count the best class within the true group against the truth, for groups of several classes: CFC-SP's Table 3.

    Returns None where no clip is of such a group.
    """
    sizes = np.bincount(predictions.group_of, minlength=len(predictions.groups))
    shared = np.flatnonzero(sizes[predictions.group_of] > 1)
    asked = np.isin(predictions.labels, shared)
    if not asked.any():
        return None
    labels = predictions.labels[asked]
    in_group = predictions.group_of[None] == predictions.group_of[labels][:, None]
    chosen = np.where(in_group, predictions.logits[asked], -np.inf).argmax(axis=1)
    names = [predictions.label_names[index] for index in shared]
    return Confusion.of(np.searchsorted(shared, chosen), np.searchsorted(shared, labels), names)


def violations(predictions: Predictions) -> float:
    """Return the share of clips whose coarse answer is not the group of the fine answer, from 0 to 1."""
    return hierarchy_violations(predictions.predicted, predictions.coarse_predicted, predictions.group_of)


def intervals(predictions: Predictions) -> Intervals:
    """Compute 95 % intervals, resampling persons where all are known and there are enough, or else clips."""
    persons = predictions.persons
    if persons is not None and len(set(persons)) < LEAST_PERSONS:
        persons = None
    return bootstrap(
        predictions.labels,
        predictions.predicted,
        predictions.coarse_predicted,
        label_names=predictions.label_names,
        group_of=predictions.group_of,
        persons=persons,
        num_resamples=NUM_RESAMPLES,
        seed=SEED,
    )


def measure(predictions: Predictions, *, temperature: float | None) -> dict[str, Any]:
    """Compute all figures of predictions.

    `fine`, `coarse` (the system's own coarse answer), `coarse_of_fine` (the group of its fine answer), `cascade` (the
    best class within its coarse answer, which is how CFC-SP's paper answers) and `within_groups` (the best class
    within the true group, of the clips of groups of several) hold recalls and confusions in percent and counts; a
    class without a clip is named in `absent_classes` and left out of UAR, as in scikit-learn's
    `balanced_accuracy_score`.

    Args:
        predictions: What to measure.
        temperature: Of the checkpoint; None for pooled predictions, which are measured at 1 alone.
    """
    fine, coarse = predictions.labels, predictions.coarse_labels
    results = {
        "fine": fine_confusion(predictions).to_dict(),
        "coarse": coarse_confusion(predictions).to_dict(),
        "coarse_of_fine": group_confusion(predictions).to_dict(),
        "cascade": cascade_confusion(predictions).to_dict(),
        "hierarchy_violations": percent(violations(predictions)),
        "confidence_intervals": intervals(predictions).to_dict(),
        "calibration": {
            "fine": calibration(predictions.logits, fine, temperature=1.0),
            "coarse": calibration(predictions.coarse_logits, coarse, temperature=1.0),
        },
    }
    within = within_confusion(predictions)
    if within is not None:
        results["within_groups"] = within.to_dict()
    if temperature is not None and temperature != 1:
        results["calibration_at_temperature"] = {
            "fine": calibration(predictions.logits, fine, temperature=temperature),
            "coarse": calibration(predictions.coarse_logits, coarse, temperature=temperature),
        }
    return results


def write_results(results: dict[str, Any], path: Path) -> str:
    """Write results as JSON, the same bytes for the same results, and return the text."""
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")
    return text
