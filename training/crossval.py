"""Put folds together: `python -m training.crossval <run folder or predictions of each fold> … --output <folder>`.

The papers print the mean over the folds; each clip is tested in one fold only, so that the pooled confusion matrix,
and recalls of it, are of the whole corpus. Both are written. Temperatures of the folds' checkpoints are not applied.
"""

from training.arguments import read_command_line

if __name__ == "__main__":
    # `--help` and wrong words are answered before torch is imported, which takes seconds.
    read_command_line("crossval")

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluate import PREDICTIONS, RESULTS, draw_figures
from training.evaluation.metrics import percent
from training.evaluation.predict import Predictions, PredictionsError
from training.evaluation.prediction_files import SUFFIXES, load_predictions
from training.evaluation.results import (
    coarse_confusion,
    fine_confusion,
    group_confusion,
    measure,
    versions,
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
        number: Which fold, counted from 1; None where no `results.json` says so.
        corpus: Its name, where it is known.
        system: Model type, where it is known.
        split: `test` or `train`, where it is known.
    """

    place: str
    predictions: Predictions
    number: int | None = None
    corpus: str | None = None
    system: str | None = None
    split: str | None = None

    def figures(self) -> dict[str, float]:
        """Its single figures, from 0 to 1."""
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
        folders = [folder for folder in (path, path / "evaluation") if folder.is_dir()]
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
    return Fold(
        place=str(path),
        predictions=load_predictions(file),
        number=known.get("fold"),
        corpus=known.get("corpus"),
        system=known.get("system"),
        split=known.get("split"),
    )


def check_folds(folds: Sequence[Fold]) -> None:
    """Refuse folds that are not the parts of one cross-validation.

    Raises:
        FoldsError: If there are fewer than two, one is given twice, clips stand in two of them, or corpora, systems or
            classes differ.
    """
    if len(folds) < 2:
        raise FoldsError(f"Expected two folds or more, got {len(folds)}. Name every fold of the corpus.")
    first, seen = folds[0], {}
    for fold in folds:
        if fold.split not in (None, "test"):
            raise FoldsError(
                f"Expected test clips, but {fold.place} holds the {fold.split} split. Evaluate the fold's test split."
            )
        for what in ("corpus", "system"):
            values = getattr(first, what), getattr(fold, what)
            if None not in values and values[0] != values[1]:
                raise FoldsError(
                    f"Expected folds of one {what}, but {first.place} is of {values[0]} and {fold.place} of {values[1]}."
                )
        ours, theirs = first.predictions, fold.predictions
        if ours.label_names != theirs.label_names or list(ours.groups.items()) != list(theirs.groups.items()):
            raise FoldsError(
                f"Expected the same classes in the same order in every fold, but {first.place} has "
                f"{', '.join(ours.label_names)} in {dict(ours.groups)}, and {fold.place} "
                f"{', '.join(theirs.label_names)} in {dict(theirs.groups)}."
            )
        if fold.number is not None and fold.number in seen:
            raise FoldsError(
                f"Expected every fold once, but fold {fold.number} is given twice, by {seen[fold.number]} and "
                f"{fold.place}. Take one of them out."
            )
        seen[fold.number] = fold.place
    place_of: dict[str, str] = {}
    for fold in folds:
        shared = [name for name in fold.predictions.names if name in place_of]
        if shared:
            raise FoldsError(
                f"Expected every clip in the test part of one fold, but {len(shared)} clips stand in two, such as "
                f"{shared[0]!r} in {place_of[shared[0]]} and {fold.place}. Were both measured on the same fold?"
            )
        place_of |= dict.fromkeys(fold.predictions.names, fold.place)


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
    """Figures of each fold in percent, their mean and standard deviation, and those of all clips pooled.

    The deviation is of a sample: the squares are divided by the number of folds less one.
    """
    figures = [fold.figures() for fold in folds]
    table = {name: np.array([values[name] for values in figures]) for name in TITLES}
    return {
        "corpus": next((fold.corpus for fold in folds if fold.corpus), None),
        "system": next((fold.system for fold in folds if fold.system), None),
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


def markdown_table(results: dict[str, Any]) -> str:
    """Folds, mean and pooled figures as a table in percent."""
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
    """Put folds together, print the table and write; 1 where they do not belong together."""
    try:
        folds = [read_fold(path) for path in arguments.folds]
        check_folds(folds)
    except (FoldsError, PredictionsError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    folds.sort(key=lambda fold: (fold.number or 0, fold.predictions.names[:1]))
    results = summarise(folds)
    table = markdown_table(results)
    sys.stdout.write(table)
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        write_results(results, arguments.output / RESULTS)
        (arguments.output / "table.md").write_text(table, encoding="utf-8")
        if arguments.figures:
            title = f"{results['system'] or 'system'}, {results['corpus'] or 'corpus'}, {len(folds)} folds"
            draw_figures(pool(folds), arguments.output, title=title)
    return 0


if __name__ == "__main__":
    sys.exit(main(read_command_line("crossval")))
