"""Put folds together: `python -m training.crossval <run folder or predictions of each fold> … --output <folder>`.

The papers print the mean over the folds; each clip is tested in one fold only, so that the pooled confusion matrix,
and recalls of it, are of the whole dataset. Both are written. Temperatures of the folds' checkpoints are not applied.
Runs must be of one recipe, each tested on the fold that it left out.
"""

from dfer_hf.checkpoint_facts import versions
from training.arguments import run_module

if __name__ == "__main__":
    # Before the imports that take seconds.
    raise SystemExit(run_module("crossval"))

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.run_folder import RunFolder
from training.evaluate import draw_figures
from training.evaluation.metrics import percent
from training.evaluation.predict import Predictions
from training.evaluation.prediction_files import SUFFIXES, load_predictions
from training.evaluation.results import (
    PREDICTIONS,
    RESULTS,
    coarse_confusion,
    fine_confusion,
    group_confusion,
    measure,
    refuse_other_results,
    violations,
    write_results,
)

TITLES = {
    "war": "WAR",
    "uar": "UAR",
    "macro_f1": "macro F1",
    "coarse_war": "coarse WAR",
    "coarse_uar": "coarse UAR",
    "group_accuracy": "group accuracy",
    "hierarchy_violations": "violations",
}


class FoldsError(ValueError):
    """Folds cannot be put together; the message says which and why."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold's predictions, and what `results.json` beside them says of it.

    Args:
        place: Where they came from, for messages.
        predictions: Of the fold's test clips.
        known: Content of that file; empty where there is none.
    """

    place: str
    predictions: Predictions
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int | None:
        """Number of the fold, counted from 1; None where it is unknown."""
        return self.known.get("fold")

    @property
    def run(self) -> Mapping[str, Any]:
        """Dataset, fold and recipe of the run; empty where they are unknown."""
        return self.known.get("run") or {}

    def figures(self) -> dict[str, float]:
        """Compute its figures, from 0 to 1."""
        fine, coarse = fine_confusion(self.predictions), coarse_confusion(self.predictions)
        return {
            "war": fine.war,
            "uar": fine.uar,
            "macro_f1": fine.macro_f1,
            "coarse_war": coarse.war,
            "coarse_uar": coarse.uar,
            "group_accuracy": group_confusion(self.predictions).war,
            "hierarchy_violations": violations(self.predictions),
        }


def read_fold(path: Path) -> Fold:
    """Read a fold from a run folder, the folder that `evaluate` wrote, or a file of predictions.

    Raises:
        FoldsError: If there are no predictions, or several.
    """
    if path.is_file():
        file = path
    elif path.is_dir():
        folders = [folder for folder in (path, RunFolder(path).evaluation) if folder.is_dir()]
        files = [folder / f"{PREDICTIONS}{suffix}" for folder in folders for suffix in SUFFIXES]
        files = [file for file in files if file.is_file()]
        if len(files) != 1:
            found = ", ".join(str(file.relative_to(path)) for file in files) or "none"
            raise FoldsError(
                f"Expected one file of predictions in {path} or its folder `evaluation`, found {found}. "
                "Run python -m training.evaluate on the fold, or name the file itself."
            )
        file = files[0]
    else:
        raise FoldsError(f"Expected a folder or a file of predictions at {path}, found none.")
    results = file.with_name(RESULTS)
    known = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    return Fold(str(path), load_predictions(file), known)


def check_folds(folds: Sequence[Fold]) -> None:
    """Refuse folds that are not the parts of one cross-validation.

    Raises:
        FoldsError: If there are fewer than two, one is given twice, clips are in two of them, a run was tested on what
            it has learnt from, or datasets, systems, recipes or classes differ.
    """
    if len(folds) < 2:
        raise FoldsError(f"Expected two folds or more, got {len(folds)}. Name every fold of the dataset.")
    first = folds[0]
    for fold in folds:
        if fold.known.get("split", "test") != "test":
            raise FoldsError(
                f"Expected test clips, but {fold.place} holds the {fold.known['split']} split. Evaluate the fold's "
                "test split."
            )
        if fold.known.get("seen_in_training"):
            raise FoldsError(
                f"Expected clips that no run has learnt from, but {fold.known['seen_in_training']} of {fold.place} "
                "were seen in training. Evaluate each run on the fold that it left out."
            )
        if fold.run and (fold.run["corpus"], fold.run["fold"]) != (fold.known["corpus"], fold.number):
            raise FoldsError(
                f"Expected each run on the fold that it left out, but {fold.place} was trained without fold "
                f"{fold.run['fold']} of {fold.run['corpus']} and tested on fold {fold.number} of "
                f"{fold.known['corpus']}. Evaluate it on its own fold."
            )
        ours, theirs = first.predictions, fold.predictions
        if ours.label_names != theirs.label_names or list(ours.groups.items()) != list(theirs.groups.items()):
            raise FoldsError(
                f"Expected the same classes in the same order in every fold, but {first.place} has "
                f"{', '.join(ours.label_names)} in {dict(ours.groups)}, and {fold.place} "
                f"{', '.join(theirs.label_names)} in {dict(theirs.groups)}."
            )
    _check_alike({fold.place: fold.known.get("corpus") for fold in folds}, "dataset")
    _check_alike({fold.place: fold.known.get("system") for fold in folds}, "system")
    for name, what in (("recipe_sha256", "recipe"), ("preparation_sha256", "preparation of the faces")):
        _check_alike({fold.place: fold.run.get(name) for fold in folds}, what)
    for name, what in (("fold", "fold"), ("weights_sha256", "checkpoint")):
        _check_once(folds, name, what)
    place_of: dict[str, str] = {}
    for fold in folds:
        shared = [name for name in fold.predictions.names if name in place_of]
        if shared:
            raise FoldsError(
                f"Expected every clip in the test part of one fold, but {len(shared)} clips are in two, such as "
                f"{shared[0]!r} in {place_of[shared[0]]} and {fold.place}. Were both measured on the same fold?"
            )
        place_of |= dict.fromkeys(fold.predictions.names, fold.place)


def _check_alike(values: Mapping[str, Any], what: str) -> None:
    """Refuse folds that differ in something that all must share, as far as they know it."""
    places = {value: place for place, value in values.items() if value is not None}
    if len(places) > 1:
        first, second, *_ = places.items()
        raise FoldsError(
            f"Expected folds of one {what}, but {first[1]} is of {first[0]} and {second[1]} of {second[0]}. "
            "Put together what belongs together; each run's run.json says how it was trained."
        )


def _check_once(folds: Sequence[Fold], name: str, what: str) -> None:
    places: dict[Any, str] = {}
    for fold in folds:
        value = fold.known.get(name)
        if value in places:
            raise FoldsError(
                f"Expected every {what} once, but {what} {value} is given twice, by {places[value]} and {fold.place}. "
                "Take one of them out."
            )
        if value is not None:
            places[value] = fold.place


def pool(folds: Sequence[Fold]) -> Predictions:
    """Put the clips of all folds together, in the order of the folds."""
    parts = [fold.predictions for fold in folds]
    persons = [part.persons for part in parts]
    return Predictions(
        names=tuple(name for part in parts for name in part.names),
        labels=np.concatenate([part.labels for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        coarse_logits=np.concatenate([part.coarse_logits for part in parts]),
        label_names=parts[0].label_names,
        groups=parts[0].groups,
        persons=None if None in persons else tuple(name for part in persons for name in part or ()),
        coarse_first=any(part.coarse_first for part in parts),
    )


def summarise(folds: Sequence[Fold]) -> dict[str, Any]:
    """Compute the figures of each fold in percent, their mean and deviation, and those of all clips pooled.

    The deviation is of a sample: the squares are divided by the number of folds less one.
    """
    figures = [fold.figures() for fold in folds]
    table = {name: np.array([values[name] for values in figures]) for name in TITLES}
    return {
        "corpus": _known(folds, "corpus"),
        "system": _known(folds, "system"),
        "recipe_sha256": next((fold.run["recipe_sha256"] for fold in folds if fold.run), None),
        "folds": [
            {
                "fold": fold.number,
                "clips": len(fold.predictions),
                "absent_classes": list(fine_confusion(fold.predictions).absent_classes),
                **{name: percent(value) for name, value in values.items()},
            }
            for fold, values in zip(folds, figures, strict=True)
        ],
        "mean": {name: percent(values.mean()) for name, values in table.items()},
        "std": {name: percent(values.std(ddof=1)) for name, values in table.items()},
        "pooled": measure(pool(folds), temperature=None),
        "versions": versions(),
    }


def _known(folds: Sequence[Fold], name: str) -> Any:
    return next((fold.known[name] for fold in folds if fold.known.get(name)), None)


def markdown_table(results: dict[str, Any]) -> str:
    """Lay out the folds, their mean and the pooled figures as a table in percent."""
    pooled = results["pooled"]
    of_pooled = {name: pooled["fine"][name] for name in ("war", "uar", "macro_f1")}
    of_pooled |= {f"coarse_{name}": pooled["coarse"][name] for name in ("war", "uar")}
    of_pooled |= {"group_accuracy": pooled["coarse_of_fine"]["war"]}
    of_pooled |= {"hierarchy_violations": pooled["hierarchy_violations"]}
    lines = ["| fold | clips | " + " | ".join(TITLES.values()) + " |", "|" + "---|" * (len(TITLES) + 2)]
    rows = [(fold["fold"] or place, fold["clips"], fold) for place, fold in enumerate(results["folds"], 1)]
    rows += [("pooled", pooled["fine"]["count"], of_pooled)]
    cells = [[str(name), str(count), *(f"{row[key]:.2f}" for key in TITLES)] for name, count, row in rows]
    mean = [f"{results['mean'][key]:.2f} ± {results['std'][key]:.2f}" for key in TITLES]
    cells.insert(-1, ["mean ± std", "", *mean])
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in cells)]) + "\n"


def main(arguments: argparse.Namespace) -> int:
    """Put folds together, print the table and write the results."""
    folds = [read_fold(path) for path in arguments.folds]
    check_folds(folds)
    unknown = [fold.place for fold in folds if not fold.run]
    if unknown:
        sys.stderr.write(f"It is not known how {', '.join(unknown)} came about: recipes could not be compared.\n")
    folds.sort(key=lambda fold: (fold.number or 0, fold.predictions.names[:1]))
    results = summarise(folds)
    table = markdown_table(results)
    if arguments.output is not None:
        refuse_other_results(arguments.output, results, ("corpus", "system", "folds"))
    sys.stdout.write(table)
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        write_results(results, arguments.output / RESULTS)
        (arguments.output / "table.md").write_text(table, encoding="utf-8")
        if arguments.figures:
            title = f"{results['system'] or 'system'}, {results['corpus'] or 'dataset'}, {len(folds)} folds"
            draw_figures(pool(folds), arguments.output, title=title)
    return 0
