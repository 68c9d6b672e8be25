"""Run the ablation tables of the papers, and print ours beside theirs.

    python -m training.papers.tables run aen_table1 --data-root <DFEW> --prepared <cache> --output runs/tables
    python -m training.papers.tables show

A row of `training/papers/ablations/<paper>_<table>.toml` has a recipe, changes of it and the paper's figures. Rows
that are trained alike share a run, even between tables; finished runs are not repeated.
"""

from training.arguments import run_module

if __name__ == "__main__":
    # Before the imports that take seconds.
    raise SystemExit(run_module("tables"))

import argparse
import dataclasses
import importlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from transformers import AutoConfig, AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf
from dfer_hf.complexity import measure
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from training.config import TrainConfig, change_settings, load_config
from training.disk import plain_hash, write_whole
from training.engine.run_folder import RunFolder
from training.evaluation.metrics import Confusion
from training.evaluation.prediction_files import SUFFIXES, load_predictions
from training.evaluation.results import PREDICTIONS, RESULTS
from training.papers.table_rows import (
    COLUMNS,
    RECIPES,
    Row,
    Table,
    load_table,
    model_config,
    table_names,
    train_config,
)
from training.systems.cfc_sp_assembly import assemble

PART_RECIPES = {"coarse": "cfc_sp_aff_wild2_{net}", "fine": "cfc_sp_aff_wild2_{net}_negative"}
Train = Callable[..., None]
Evaluate = Callable[..., Mapping[str, Any]]


def parameters(row: Row) -> float:
    """Count the parameters of a row's system in millions, without the landmark head, which is dlib in the paper."""
    counts = {name: parameter.numel() for name, parameter in _meta_model(row).named_parameters()}
    return sum(count for name, count in counts.items() if not name.startswith("landmark_head.")) / 1e6


def multiply_adds(row: Row) -> float:
    """Count the multiply-adds of a row's system for one clip in billions."""
    model = _meta_model(row)
    config, side = model.config, model.config.image_size
    with torch.device("meta"):
        size, _ = measure(model, torch.empty(1, config.num_frames, config.num_channels, side, side))
    return (size.layer_multiply_adds + size.product_multiply_adds) / 1e9


def _meta_model(row: Row) -> DferPreTrainedModel:
    with torch.device("meta"):
        return dfer_hf.systems()[train_config(row).system](model_config(row)).eval()


COUNTED = {"multiply_adds": multiply_adds, "parameters": parameters}
"""Columns that are computed from the configuration."""


@dataclass(frozen=True)
class TableRuns:
    """The folder of all runs of tables, their data, and the functions that train and measure.

    Args:
        output: Folder of all runs.
        data_roots: Folder of each corpus.
        prepared_roots: Cache of each corpus.
        num_workers: Processes that read clips.
        train: `training.train.train`.
        evaluate: `training.evaluate.evaluate`.
    """

    output: Path
    data_roots: Mapping[str, Path] = field(default_factory=dict)
    prepared_roots: Mapping[str, Path] = field(default_factory=dict)
    num_workers: int = 0
    train: Train | None = None
    evaluate: Evaluate | None = None

    def run_folder(self, table: Table, row: Row, fold: int | None) -> Path:
        """Return the folder of a row's run; rows that are trained alike have the same."""
        named: Any = row.overrides
        if row.start_row:
            start = table.rows[row.start_row - 1]
            named = [row.overrides, self.run_folder(table, start, first_fold(start)).name]
        return self.output / _name(row.recipe, named, fold)

    def result_folder(self, table: Table, row: Row, fold: int | None) -> Path:
        """Return the folder of a row's `results.json`: its run's, unless the checkpoint is changed afterwards."""
        trained = self.run_folder(table, row, fold)
        if not row.decision and not row.nets:
            return trained
        return self.output / _name(f"{trained.name}-decided", [row.decision, row.nets], None)

    def run_row(self, table: Table, row: Row, fold: int | None) -> None:
        """Train what a row needs and measure it, unless its result is there."""
        folder, process = self.result_folder(table, row, fold), PartialState()
        if (folder / RESULTS).is_file():
            return
        # Wrong fields raise an error before the training.
        model_config(row)
        if row.nets:
            nets = {
                f"{role}_nets": {kind: self._net(table, row, role, kind, fold) for kind in kinds}
                for role, kinds in row.nets.items()
            }
            if process.is_main_process:
                assemble(RunFolder(folder).checkpoint, **nets, **row.decision)
        else:
            trained = self._trained(table, row, fold)
            if process.is_main_process and row.decision:
                decide(trained, RunFolder(folder).checkpoint, row.decision)
        process.wait_for_everyone()
        corpus = train_config(row).data
        results = (self.evaluate or importlib.import_module("training.evaluate").evaluate)(
            RunFolder(folder).checkpoint, corpus, self.data_roots[corpus], self.prepared_roots[corpus],
            fold=fold, output=RunFolder(folder).evaluation, num_workers=self.num_workers,
        )  # fmt: skip
        if process.is_main_process:
            write_whole(folder / RESULTS, json.dumps(results, indent=2) + "\n")
        process.wait_for_everyone()

    def _net(self, table: Table, row: Row, role: str, kind: str, fold: int | None) -> Path:
        recipe = PART_RECIPES[role].format(net=kind)
        return self._trained(table, dataclasses.replace(row, recipe=recipe), fold)

    def _trained(self, table: Table, row: Row, fold: int | None) -> Path:
        """Train a row's run, unless it is finished, and return its checkpoint."""
        config, folder = train_config(row), self.run_folder(table, row, fold)
        if row.start_row:
            start = table.rows[row.start_row - 1]
            begun = self.run_folder(table, start, first_fold(start))
            if not is_finished(begun, train_config(start)):
                raise ValueError(
                    f"Expected the finished run of row {row.start_row}, from which {row.name!r} starts, in {begun}, "
                    f"found none. Run row {row.start_row} on fold {first_fold(start)} first."
                )
            config = dataclasses.replace(config, initialise_from=(str(RunFolder(begun).checkpoint),))
        if not is_finished(folder, config):
            (self.train or importlib.import_module("training.train").train)(
                config, self.data_roots[config.data], folder, fold=fold,
                prepared_root=self.prepared_roots[config.data], num_workers=self.num_workers,
            )  # fmt: skip
        return RunFolder(folder).checkpoint

    def results(self, table: Table, row: Row) -> list[Mapping[str, Any]]:
        """Read the results of a row, one for each fold that was measured."""
        folders = [self.result_folder(table, row, fold) for fold in row.folds or (None,)]
        folders = [folder for folder in folders if (folder / RESULTS).is_file()]
        if row.scenes:
            return [results_of_scenes(folder / "evaluation", row.scenes) for folder in folders]
        return [json.loads((folder / RESULTS).read_text(encoding="utf-8")) for folder in folders]

    def hours(self, table: Table, row: Row) -> float | None:
        """Return how many hours a row was trained on its first fold; None where the run is not finished."""
        run = RunFolder(self.run_folder(table, row, first_fold(row)))
        if row.nets or not is_finished(run.folder, train_config(row)):
            return None
        return sum(epoch["seconds"] for epoch in run.read_progress().rows) / 3600


def results_of_scenes(evaluation: Path, scenes: Sequence[str]) -> Mapping[str, Any]:
    """Measure the clips of some scenes of FERV39k, whose names begin with that of the scene.

    Raises:
        ValueError: If the evaluation holds no clip of these scenes.
    """
    found = [evaluation / f"{PREDICTIONS}{suffix}" for suffix in SUFFIXES]
    predictions = load_predictions(next((path for path in found if path.is_file()), found[0]))
    chosen = np.array([name.split("/")[0] in scenes for name in predictions.names])
    if not chosen.any():
        raise ValueError(f"Expected clips of {', '.join(scenes)} in {evaluation}, found none.")
    confusion = Confusion.of(predictions.predicted[chosen], predictions.labels[chosen], predictions.label_names)
    return {"fine": confusion.to_dict()}


def first_fold(row: Row) -> int | None:
    """Return the fold whose run other rows start from."""
    return row.folds[0] if row.folds else None


def is_finished(folder: Path, config: TrainConfig) -> bool:
    """Return whether a run folder holds all epochs."""
    return RunFolder(folder).read_progress().epochs_done >= config.num_epochs


def decide(checkpoint: Path, output: Path, decision: Mapping[str, Any]) -> None:
    """Copy a checkpoint with other fields of its configuration, and with the record of its training."""
    config = AutoConfig.from_pretrained(checkpoint)
    config = type(config).from_dict(config.to_dict() | dict(decision))
    model = AutoModelForVideoClassification.from_pretrained(checkpoint, config=config, dtype=torch.float32)
    model.save_pretrained(output)
    AutoVideoProcessor.from_pretrained(checkpoint).save_pretrained(output)
    run = RunFolder.around(checkpoint)
    if run is not None:
        shutil.copyfile(run.record_file, output / run.record_file.name)


def _name(base: str, named: Any, fold: int | None) -> str:
    return base + (f"-{plain_hash(named)[:8]}" if named else "") + ("" if fold is None else f"_{fold}")


def run_table(table: Table, table_runs: TableRuns, *, rows: Sequence[int] = (), fold: int | None = None) -> list[str]:
    """Run rows of a table, counted from 1, or all; return what was left out, and why.

    Raises:
        ValueError: If a row or fold is asked for that the table does not have.
    """
    unknown = sorted(set(rows) - set(range(1, len(table.rows) + 1)))
    if unknown:
        raise ValueError(f"Expected rows from 1 to {len(table.rows)}, got {unknown}.")
    if fold is not None and all(fold not in (row.folds or ()) for row in table.rows):
        raise ValueError(f"Expected one of the table's folds {list(table.folds)}, got {fold}. Leave --fold out.")
    left_out = []
    for number in rows or range(1, len(table.rows) + 1):
        row = table.rows[number - 1]
        if not row.ours:
            left_out.append(f"row {number}, {row.name}: printed only, this package cannot run it")
            continue
        corpus = train_config(row).data
        if corpus not in table_runs.data_roots or corpus not in table_runs.prepared_roots:
            left_out.append(
                f"row {number}, {row.name}: needs --data-root {corpus}=<folder> and --prepared {corpus}=<cache>"
            )
            continue
        for of_fold in [each for each in row.folds or (None,) if fold is None or each in (None, fold)]:
            table_runs.run_row(table, row, of_fold)
    return left_out


def render(table: Table, table_runs: TableRuns) -> str:
    """Lay out a table in Markdown, with our figures beside the paper's, or "no data"."""
    titles = [COLUMNS[column][0] for column in table.columns]
    heads = ["", "row", *(f"{title}, {who}" for title in titles for who in ("paper", "ours")), "folds"]
    lines, notes = [heads, ["---"] * len(heads)], [table.note] if table.note else []
    for number, row in enumerate(table.rows, 1):
        results = table_runs.results(table, row) if row.ours else []
        figures = []
        for column in table.columns:
            figures += [
                _cell(row.paper.get(column), "not printed"),
                _cell(_ours(table, row, column, results, table_runs), "no data"),
            ]
        lines.append([str(number), row.name, *figures, f"{len(results)} of {len(row.folds or (None,))}"])
        if row.note:
            notes.append(f"Row {number}: {row.note}")
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([table.title, "", *padded, *(["", *notes] if notes else []), ""])


def _ours(
    table: Table, row: Row, column: str, results: Sequence[Mapping[str, Any]], table_runs: TableRuns
) -> float | None:
    """Compute our mean over the measured folds; None where there is none, or one lacks the figure."""
    if column in COUNTED:
        return COUNTED[column](row) if row.ours else None
    if column == "hours":
        return table_runs.hours(table, row) if row.ours else None
    if not COLUMNS[column][1]:
        return None
    part, name = COLUMNS[column][1]
    values = [result.get(part, {}).get(name) for result in results]
    return None if not values or None in values else sum(values) / len(values)


def _cell(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.2f}"


def places(words: Sequence[str], corpus: str) -> dict[str, Path]:
    """Read folders by dataset from `<dataset>=<folder>`; a folder alone is that of the table's own dataset."""
    pairs = [word.split("=", 1) if "=" in word else (corpus, word) for word in words]
    return {name: Path(place) for name, place in pairs}


def main(arguments: argparse.Namespace) -> int:
    """Run rows and print tables as the command line asks."""
    names = [arguments.table] if arguments.table else table_names()
    tables = [load_table(name) for name in names]
    settings = [*arguments.settings, *(["select=test"] if arguments.select_on_test else [])]
    tables = [_change(table, settings) for table in tables]
    table_runs = TableRuns(arguments.output)
    if arguments.action == "run":
        corpus = load_config(RECIPES / f"{tables[0].recipe}.toml").data
        table_runs = TableRuns(
            arguments.output,
            places(arguments.data_root, corpus),
            places(arguments.prepared, corpus),
            arguments.workers,
        )
        for line in run_table(tables[0], table_runs, rows=arguments.rows, fold=arguments.fold):
            sys.stdout.write(f"Left out {line}.\n")
    if PartialState().is_main_process:
        sys.stdout.write("\n".join(render(table, table_runs) for table in tables))
    return 0


def _change(table: Table, settings: Sequence[str]) -> Table:
    rows = (dataclasses.replace(row, overrides=change_settings(row.overrides, settings)) for row in table.rows)
    return dataclasses.replace(table, rows=tuple(rows))
