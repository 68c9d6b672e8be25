"""Tables of the papers: every row can be trained, and our figures are printed beside the paper's."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForVideoClassification

import dfer_hf
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.arguments import read_command_line
from training.config import CHOICES
from training.engine.pretrained import build_model
from training.evaluation.prediction_files import save_predictions
from training.papers import table_rows, tables
from training.papers.table_rows import COLUMNS, Row, Table, load_table, model_config, table_names, train_config
from training.papers.tables import PART_RECIPES, TableRuns, multiply_adds, parameters, render, run_table

from ..small_source import random_predictions

ROWS = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name in table_names()
    for number in range(1, len(load_table(name).rows) + 1)
]
TINY = {"preset": "tiny"}


def nr_table(*rows, folds=(1,)):
    rows = tuple(
        dataclasses.replace(
            row,
            recipe=row.recipe or "nr_dfernet_dfew",
            folds=folds if row.folds is None else row.folds,
            overrides=TINY | row.overrides,
        )
        for row in rows
    )
    return Table("A table", "nr_dfernet_dfew", ("uar", "war"), rows, folds)


class Trainer:
    """Replaces hours of training: writes the folder of a finished run, and records its calls."""

    def __init__(self):
        self.calls = []

    def train(self, config, data_root, output, *, fold=None, prepared_root=None, num_workers=0):
        self.calls.append((config, data_root, output, fold, prepared_root, num_workers))
        torch.manual_seed(len(self.calls))
        model, _ = build_model(
            dataclasses.replace(config, initialise_from=()), tuple(config.classes) or SEVEN_EMOTIONS
        )
        model.save_pretrained(output / "checkpoint")
        dfer_hf.DferVideoProcessor().save_pretrained(output / "checkpoint")
        (output / "progress.json").write_text(
            json.dumps({"epochs_done": config.num_epochs, "best_epoch": 0, "rows": []}), encoding="utf-8"
        )


class Examiner:
    """Replaces the evaluation: each further checkpoint is better, by more and more points."""

    def __init__(self):
        self.calls = []

    def evaluate(self, checkpoint, corpus, data_root, prepared_root, *, fold, output, num_workers):
        assert (checkpoint / "config.json").is_file()
        assert num_workers == 2
        self.calls.append((checkpoint, corpus, data_root, prepared_root, fold, output))
        figure = 50.0 + len(self.calls) ** 2
        return {"fine": {"uar": figure - 10, "war": figure}, "cascade": {"macro_f1": figure + 10}}


@pytest.fixture
def shop(tmp_path):
    """Runs of tables, and the recorded calls of their training and their evaluation."""
    trainer, examiner = Trainer(), Examiner()
    roots = {name: tmp_path / name for name in ("dfew", "afew", "aff_wild2")}
    caches = {name: tmp_path / f"{name}_cache" for name in roots}
    table_runs = TableRuns(tmp_path / "runs", roots, caches, 2, trainer.train, examiner.evaluate)
    return table_runs, trainer.calls, examiner.calls


@pytest.mark.parametrize(("name", "number"), ROWS)
def test_a_row_is_accepted_by_recipe_and_system(name, number):
    table = load_table(name)
    row = table.rows[number - 1]
    if not row.ours:
        assert row.paper
        return
    config = train_config(row)
    measured = model_config(row)
    for choice, known in CHOICES.items():
        assert getattr(config, choice) in known
    for field, value in {**config.model, **row.decision}.items():
        assert getattr(measured, field) == value or field.removesuffix("_nets") in row.nets
    assert row.start_row < number
    for role, nets in row.nets.items():
        for net in nets:
            part = train_config(dataclasses.replace(row, recipe=PART_RECIPES[role].format(net=net)))
            assert part.data == config.data
            assert part.model["coarse_nets"] == [net]
            told_apart = measured.groups if role == "coarse" else measured.groups["negative"]
            assert sorted(part.classes) == sorted(told_apart)


@pytest.mark.parametrize(("name", "number"), ROWS)
def test_what_a_row_says_otherwise_is_otherwise(name, number):
    """A row that repeats a default would be trained again for nothing."""
    row = load_table(name).rows[number - 1]
    if not row.ours:
        return
    plain = model_config(dataclasses.replace(row, overrides={}, decision={}, nets={}))
    said = {**row.overrides.get("model", {}), **row.decision}
    assert not said or row.nets or any(getattr(plain, field) != value for field, value in said.items())


def test_rows_that_are_the_same_run_are_printed_alike(tmp_path):
    """Papers repeat their best row from table to table, sometimes rounded, as in CFC-SP's Table 1."""
    table_runs, printed = TableRuns(tmp_path), {}
    for name in table_names():
        table = load_table(name)
        for row in table.rows:
            if not row.ours:
                continue
            folder = table_runs.result_folder(table, row, row.folds[0] if row.folds else None)
            for column, figure in row.paper.items():
                # Figures of one fold and of five differ, and sources differ about Former-DFER's size.
                same = (folder, column, row.folds, row.scenes)
                if column != "parameters":
                    assert printed.setdefault(same, figure) == pytest.approx(figure, abs=0.3), row.name
    assert len(printed) > 60


def test_there_is_a_table_of_every_ablation():
    assert set(table_names()) == {
        "aen_table1", "aen_table2", "aen_figure3",
        "nr_dfernet_table1", "nr_dfernet_table2", "nr_dfernet_table3",
        "cfc_sp_table1", "cfc_sp_table2", "cfc_sp_table3",
        "cfc_sp_table4",
        "keypoint_gcn_table6", "keypoint_gcn_table8",
        "keypoint_gcn_table9", "keypoint_gcn_table10", "keypoint_gcn_table11", "keypoint_gcn_table12",
        "keypoint_gcn_figure8",
        "m3dfel_table1", "m3dfel_table2",
    }  # fmt: skip


def test_layers_cost_what_the_paper_prints_for_them():
    """Table 3 of NR-DFERNet counts linear layers twice: a layer of ours adds half of what the paper's adds."""
    rows = load_table("nr_dfernet_table3").rows
    ours = [multiply_adds(row) for row in rows]
    for low, high in ((0, 1), (0, 3)):
        added = rows[high].paper["multiply_adds"] - rows[low].paper["multiply_adds"]
        assert ours[high] - ours[low] == pytest.approx(added / 2, rel=0.05)


def test_a_row_is_trained_and_measured_where_it_belongs(shop):
    table_runs, trained, measured = shop
    table = nr_table(Row("one layer", overrides={"model": {"spatial_layers": 2}, "batch_size": 4}))
    assert run_table(table, table_runs) == []
    [(config, data_root, run, fold, cache, workers)] = trained
    assert (config.preset, config.batch_size, config.model) == ("tiny", 4, {"spatial_layers": 2})
    assert config.learning_rate == 0.001  # the recipe's
    assert (data_root.name, cache.name, fold, workers) == ("dfew", "dfew_cache", 1, 2)
    assert run.parent == table_runs.output
    assert run.name.startswith("nr_dfernet_dfew-")
    assert run.name.endswith("_1")
    assert measured == [(run / "checkpoint", "dfew", data_root, cache, 1, run / "evaluation")]
    assert json.loads((run / "results.json").read_text(encoding="utf-8"))["fine"]["war"] == 51.0


def test_what_is_finished_is_left_alone(shop):
    table_runs, trained, measured = shop
    table = nr_table(Row("a"), Row("b", overrides={"seed": 1}))
    run_table(table, table_runs, rows=[2])
    assert (len(trained), len(measured)) == (1, 1)
    run_table(table, table_runs)
    assert (len(trained), len(measured)) == (2, 2)
    run_table(table, table_runs)
    assert (len(trained), len(measured)) == (2, 2)
    for results in table_runs.output.glob("*/results.json"):
        results.unlink()
    run_table(table, table_runs)
    assert (len(trained), len(measured)) == (2, 4)


def test_a_run_that_was_stopped_goes_on(shop):
    table_runs, trained, _ = shop
    table = nr_table(Row("a"))
    run_table(table, table_runs)
    run = trained[0][2]
    (run / "results.json").unlink()
    (run / "progress.json").write_text(json.dumps({"epochs_done": 1}), encoding="utf-8")
    run_table(table, table_runs)
    assert [call[2] for call in trained] == [run, run]


def test_rows_that_differ_in_the_decision_share_a_run(shop):
    table_runs, trained, measured = shop
    table = nr_table(Row("with"), Row("without", decision={"snippet_filter": False}))
    run_table(table, table_runs)
    assert len(trained) == 1
    first, second = (AutoModelForVideoClassification.from_pretrained(call[0]) for call in measured)
    assert (first.config.snippet_filter, second.config.snippet_filter) == (True, False)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)


def test_nets_that_were_trained_apart_are_measured_together(shop):
    table_runs, trained, measured = shop
    nets = [{"coarse": ["iresnet"], "fine": ["repvgg"]}, {"coarse": ["iresnet", "repvgg"], "fine": ["repvgg"]}]
    rows = tuple(
        Row(str(place), recipe="cfc_sp_aff_wild2_iresnet", overrides=TINY, nets=each, folds=())
        for place, each in enumerate(nets)
    )
    table = Table("Nets", "cfc_sp_aff_wild2_iresnet", ("f1",), rows)
    assert run_table(table, table_runs) == []
    assert [(call[0].model["coarse_nets"], len(call[0].classes)) for call in trained] == [
        (["iresnet"], 5), (["repvgg"], 4), (["repvgg"], 5),
    ]  # fmt: skip
    assert {call[3] for call in trained} == {None}
    both = AutoModelForVideoClassification.from_pretrained(measured[1][0])
    assert (both.config.coarse_nets, both.config.smoothing_window) == (["iresnet", "repvgg"], 256)
    repvgg = AutoModelForVideoClassification.from_pretrained(trained[2][2] / "checkpoint")
    for name, tensor in repvgg.coarse_nets[0].state_dict().items():
        assert torch.equal(both.coarse_nets[1].state_dict()[name], tensor)
    assert "61.00" in render(table, table_runs)
    assert "64.00" in render(table, table_runs)


def test_a_row_starts_from_the_run_of_another(shop):
    table_runs, trained, _ = shop
    start = Row("DFEW", overrides={"seed": 3})
    table = nr_table(start, Row("AFEW", recipe="nr_dfernet_afew", start_row=1, folds=()), folds=(1, 2))
    with pytest.raises(ValueError, match=r"from which 'AFEW' starts, .* Run row 1 on fold 1 first"):
        run_table(table, table_runs, rows=[2])
    run_table(table, table_runs, fold=1)
    first, second = trained
    assert second[0].initialise_from == (str(first[2] / "checkpoint"),)
    assert (second[0].data, second[1].name, second[3]) == ("afew", "afew", None)
    other = nr_table(dataclasses.replace(start, overrides={"seed": 4}), table.rows[1])
    assert table_runs.run_folder(other, other.rows[1], None) != second[2]


def test_folds_are_averaged_and_counted(shop):
    table_runs, trained, _ = shop
    table = nr_table(Row("a", paper={"war": 68.19}), folds=(1, 2, 3))
    run_table(table, table_runs, fold=2)
    assert [call[3] for call in trained] == [2]
    assert "| 1   | a   | not printed | 41.00     | 68.19      | 51.00     | 1 of 3 |" in render(table, table_runs)
    run_table(table, table_runs)
    assert sorted(call[3] for call in trained) == [1, 2, 3]
    assert "| 1   | a   | not printed | 44.67     | 68.19      | 54.67     | 3 of 3 |" in render(table, table_runs)


def test_what_there_is_not_has_no_data(tmp_path):
    table = dataclasses.replace(
        nr_table(Row("a", note="it is so."), Row("b", paper={"war": 65.78}, ours=False)), note="All of it."
    )
    text = render(table, TableRuns(tmp_path))
    assert "| 1   | a   | not printed | no data   | not printed | no data   | 0 of 1 |" in text
    assert "| 2   | b   | not printed | no data   | 65.78       | no data   | 0 of 1 |" in text
    assert text.endswith("\n\nAll of it.\nRow 1: it is so.\n")


def test_a_figure_that_was_not_measured_has_no_data(shop):
    table_runs, _, _ = shop
    table = dataclasses.replace(nr_table(Row("a")), columns=("war", "war_of_groups"))
    run_table(table, table_runs)
    assert "| 51.00     | not printed          | no data" in render(table, table_runs)
    results = next(table_runs.output.glob("*/results.json"))
    # A class has no clips.
    results.write_text(json.dumps({"fine": {"war": None}}), encoding="utf-8")
    assert "51.00" not in render(table, table_runs)


def test_rows_without_corpus_or_system_are_left_out_and_named(shop):
    table_runs, trained, _ = shop
    table_runs = dataclasses.replace(table_runs, data_roots={"dfew": table_runs.data_roots["dfew"]})
    table = nr_table(Row("a"), Row("b", ours=False), Row("c", recipe="nr_dfernet_afew", folds=()))
    assert run_table(table, table_runs) == [
        "row 2, b: printed only, this package cannot run it",
        "row 3, c: needs --data-root afew=<folder> and --prepared afew=<cache>",
    ]
    assert len(trained) == 1


def test_a_wrong_field_shows_before_hours_of_training(shop):
    table_runs, trained, _ = shop
    with pytest.raises(ValueError, match=r"nr_dfernet has no fields \['snippets'\]; known are"):
        run_table(nr_table(Row("a", decision={"snippets": 3})), table_runs)
    with pytest.raises(ValueError, match=r"row 'a' has unknown keys \['batch'\]"):
        run_table(nr_table(Row("a", overrides={"batch": 3})), table_runs)
    assert trained == []


@pytest.mark.parametrize(
    ("rows", "fold", "message"),
    [
        ([0], None, r"Expected rows from 1 to 1, got \[0\]"),
        ([2], None, r"Expected rows from 1 to 1, got \[2\]"),
        ([], 2, r"Expected one of the table's folds \[1\], got 2"),
    ],
)
def test_rows_and_folds_that_are_not_there_are_refused(shop, rows, fold, message):
    with pytest.raises(ValueError, match=message):
        run_table(nr_table(Row("a")), shop[0], rows=rows, fold=fold)


def command_line(*words):
    return read_command_line("tables", [str(word) for word in words])


@pytest.fixture
def one_table(tmp_path, monkeypatch):
    text = """
title = "A table"
recipe = "nr_dfernet_dfew"
columns = ["war"]
folds = [1]
rows = [{ name = "a", overrides = { preset = "tiny" }, paper = { war = 60 } }]
"""
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(table_rows, "TABLES", tmp_path)
    return tmp_path / "mine.toml"


@pytest.mark.usefixtures("one_table")
def test_a_table_is_run_and_printed_by_one_command(tmp_path, monkeypatch, capsys):
    trainer, examiner = Trainer(), Examiner()
    monkeypatch.setattr("training.train.train", trainer.train)
    monkeypatch.setattr("training.evaluate.evaluate", examiner.evaluate)
    places = ("--data-root", tmp_path / "dfew", "--prepared", tmp_path / "cache", "--output", tmp_path / "runs")
    places += ("--workers", 2)
    assert tables.main(command_line("run", "mine", *places)) == 0
    assert "| 1   | a   | 60.00      | 51.00     | 1 of 1 |" in capsys.readouterr().out
    assert tables.main(command_line("run", "mine", *places, "--select-on-test")) == 0
    assert [call[0].select for call in trainer.calls] == ["validation", "test"]
    assert "| 54.00     |" in capsys.readouterr().out
    assert tables.main(command_line("show", "--output", tmp_path / "runs")) == 0
    assert "| 51.00     |" in capsys.readouterr().out


def test_folders_of_several_corpora_are_told_apart():
    assert {name: str(place) for name, place in tables.places(["here", "afew=there"], "dfew").items()} == {
        "dfew": "here",
        "afew": "there",
    }


def test_unknown_tables_and_columns_are_refused(one_table):
    with pytest.raises(ValueError, match="Unknown table 'aen_table9'; expected one of mine"):
        load_table("aen_table9")
    one_table.write_text(one_table.read_text(encoding="utf-8").replace("war = 60", "wra = 60"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.toml has unknown columns \['wra'\]; known are"):
        load_table("mine")
    assert "war" in COLUMNS


def test_scenes_are_measured_out_of_the_predictions_of_their_run(tmp_path):
    """The key-points paper's Table 6: one run, scene by scene."""
    table = load_table("keypoint_gcn_table6")
    table_runs = TableRuns(tmp_path)
    folder = table_runs.result_folder(table, table.rows[0], None)
    (folder / "evaluation").mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"fine": {"war": 40.0}}), encoding="utf-8")
    names = tuple(f"{scene}/Happy/{number:04d}" for scene in ("Action", "Social") for number in range(4))
    logits = np.zeros((8, 7), np.float32)
    # Right of Action's clips 3 of 4, of Social's 1 of 4.
    logits[[0, 1, 2, 4], 0] = 1
    logits[[3, 5, 6, 7], 1] = 1
    answers = random_predictions(8, names=names)
    answers = dataclasses.replace(answers, labels=np.zeros(8, int), logits=logits)
    save_predictions(answers, folder / "evaluation" / "predictions.csv")
    of = {row.name: row for row in table.rows}
    seen = {name: table_runs.results(table, of[name])[0]["fine"]["war"] for name in ("All", "Social", "Action")}
    assert seen == {"All": 40.0, "Social": 25.0, "Action": 75.0}
    with pytest.raises(ValueError, match=r"Expected clips of Argue in .*, found none"):
        table_runs.results(table, of["Argue"])


def test_sizes_are_counted_and_hours_read_from_the_log(tmp_path):
    table = load_table("keypoint_gcn_table8")
    former, ours = table.rows[1], table.rows[3]
    assert parameters(former) == pytest.approx(18.03, abs=0.01)
    # 17.8, of which the paper omits the decimal.
    assert parameters(ours) == pytest.approx(17.8, abs=0.1)
    table_runs = TableRuns(tmp_path)
    assert table_runs.hours(table, ours) is None
    config, folder = train_config(ours), table_runs.run_folder(table, ours, 1)
    folder.mkdir(parents=True)
    rows = [{"epoch": epoch, "seconds": 90.0} for epoch in range(config.num_epochs)]
    progress = {"epochs_done": config.num_epochs, "best_epoch": 0, "rows": rows}
    (folder / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
    assert table_runs.hours(table, ours) == pytest.approx(2.0)
    assert "no data" in render(table, table_runs)
