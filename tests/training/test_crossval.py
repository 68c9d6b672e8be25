import json
import statistics

import numpy as np
import pytest

import training.cli
from training.evaluation.prediction_files import save_predictions
from training.evaluation.results import write_results

from .small_source import GROUPS, SEVEN, random_predictions


def write_fold(folder, number, *, suffix=".csv", **fields):
    folder.mkdir(parents=True)
    predictions = random_predictions(50 + number, seed=number)
    save_predictions(predictions, folder / f"predictions{suffix}")
    run = {"corpus": "dfew", "fold": number, "recipe_sha256": "r", "preparation_sha256": "p"}
    known = {"seen_in_training": 0, "weights_sha256": f"w{number}", "run": run | fields.pop("run", {})}
    record = {"corpus": "dfew", "system": "dfer_aen", "fold": number, "split": "test", **known} | fields
    write_results(record, folder / "results.json")
    return predictions


@pytest.fixture
def folds(tmp_path):
    """Write three folds: as `evaluate` does, in a run's folder, and as parquet."""
    predictions = [
        write_fold(tmp_path / "one", 1),
        write_fold(tmp_path / "two" / "evaluation", 2),
        write_fold(tmp_path / "three", 3, suffix=".parquet"),
    ]
    return [tmp_path / name for name in ("one", "two", "three")], predictions


def call(*words):
    return training.cli.main(["crossval", *map(str, words)])


def test_folds_are_averaged_and_pooled(folds, tmp_path, capsys):
    places, predictions = folds
    assert call(*places, "--output", tmp_path / "out") == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    wars = [100 * (part.predicted == part.labels).mean() for part in predictions]
    assert [fold["fold"] for fold in results["folds"]] == [1, 2, 3]
    assert [fold["war"] for fold in results["folds"]] == pytest.approx(wars, abs=1e-4)
    assert results["mean"]["war"] == pytest.approx(statistics.mean(wars), abs=1e-4)
    assert results["std"]["war"] == pytest.approx(statistics.stdev(wars), abs=1e-4)

    labels, answers = (np.concatenate([getattr(p, name) for p in predictions]) for name in ("labels", "predicted"))
    counts = np.zeros((7, 7), int)
    np.add.at(counts, (labels, answers), 1)
    pooled = results["pooled"]["fine"]
    assert pooled["confusion"] == counts.tolist()
    assert pooled["war"] == pytest.approx(100 * (labels == answers).mean(), abs=1e-4)
    recalls = [(answers[labels == index] == index).mean() for index in range(7)]
    assert pooled["uar"] == pytest.approx(100 * np.mean(recalls), abs=1e-4)
    # The folds differ in size.
    assert pooled["war"] != pytest.approx(results["mean"]["war"], abs=1e-3)

    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (table, "")
    lines = table.splitlines()
    assert lines[0].startswith("| fold | clips | WAR | UAR |")
    assert lines[2].startswith(f"| 1 | 51 | {wars[0]:.2f} |")
    assert lines[5].startswith(f"| mean ± std |  | {statistics.mean(wars):.2f} ± {statistics.stdev(wars):.2f} |")
    assert lines[6].startswith(f"| pooled | 156 | {pooled['war']:.2f} | {pooled['uar']:.2f} |")
    assert len({line.count("|") for line in lines}) == 1


def test_two_runs_and_any_order_write_the_same(folds, tmp_path):
    places, _ = folds
    assert call(*places, "--output", tmp_path / "a") == 0
    assert call(*places[::-1], "--output", tmp_path / "b") == 0
    for file in ("results.json", "table.md"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_files_alone_are_enough(tmp_path, capsys):
    for number in (1, 2):
        save_predictions(random_predictions(40, seed=number), tmp_path / f"fold{number}.csv")
    places = [tmp_path / "fold1.csv", tmp_path / "fold2.csv"]
    assert call(*places, "--output", tmp_path / "out", "--figures") == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [fold["fold"] for fold in results["folds"]] == [None, None]
    assert "It is not known how" in capsys.readouterr().err
    assert (tmp_path / "out" / "confusion.png").is_file()
    assert not (tmp_path / "out" / "features.png").exists()


def break_twice(places):
    return [*places, places[0]]


def break_overlap(places):
    clone = places[0].parent / "clone"
    write_fold(clone, 1, fold=4, run={"fold": 4}, weights_sha256="w4")
    return [*places, clone]


def break_classes(places):
    other = places[0].parent / "other"
    other.mkdir()
    names = (*SEVEN[1:], SEVEN[0])
    save_predictions(random_predictions(9, seed=9, label_names=names), other / "predictions.csv")
    return [*places, other]


def break_groups(places):
    other = places[0].parent / "other"
    other.mkdir()
    groups = GROUPS | {"positive": ("happiness",), "neutral": ("neutral", "surprise")}
    save_predictions(random_predictions(9, seed=9, groups=groups), other / "predictions.csv")
    return [*places, other]


def break_corpus(places):
    write_fold(places[0].parent / "other", 4, corpus="mafw")
    return [*places, places[0].parent / "other"]


def break_system(places):
    write_fold(places[0].parent / "other", 4, system="dfer_r3d")
    return [*places, places[0].parent / "other"]


def break_split(places):
    write_fold(places[0].parent / "other", 4, split="train")
    return [*places, places[0].parent / "other"]


def break_recipe(places):
    write_fold(places[0].parent / "other", 4, run={"recipe_sha256": "another"})
    return [*places, places[0].parent / "other"]


def break_preparation(places):
    write_fold(places[0].parent / "other", 4, run={"preparation_sha256": "another"})
    return [*places, places[0].parent / "other"]


def break_trained_fold(places):
    write_fold(places[0].parent / "other", 4, run={"fold": 1})
    return [*places, places[0].parent / "other"]


def break_unseen(places):
    write_fold(places[0].parent / "other", 4, seen_in_training=7)
    return [*places, places[0].parent / "other"]


def break_checkpoint(places):
    write_fold(places[0].parent / "other", 4, weights_sha256="w1")
    return [*places, places[0].parent / "other"]


def break_both(places):
    save_predictions(random_predictions(5), places[0] / "predictions.parquet")
    return places


def break_empty(places):
    (places[0] / "predictions.csv").unlink()
    return places


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_twice, "fold 1 is given twice"),
        (break_overlap, "51 clips are in two, such as 'clip-1-0'"),
        (break_classes, "Expected the same classes in the same order"),
        (break_groups, "Expected the same classes in the same order"),
        (break_corpus, "on fold 4 of mafw. Evaluate it on its own fold"),
        (break_recipe, "Expected folds of one recipe"),
        (break_preparation, "Expected folds of one preparation of the faces"),
        (break_trained_fold, "was trained without fold 1 of dfew and tested on fold 4 of dfew"),
        (break_unseen, "7 of"),
        (break_checkpoint, "checkpoint w1 is given twice"),
        (break_system, "Expected folds of one system"),
        (break_split, "holds the train split"),
        (break_both, "found predictions.csv, predictions.parquet"),
        (break_empty, "found none. Run python -m training.evaluate on the fold"),
        (lambda places: places[:1], "Expected two folds or more, got 1"),
        (lambda places: [*places, places[0] / "nothing"], "Expected a folder or a file of predictions at"),
    ],
)
def test_folds_that_do_not_belong_together_are_refused(folds, tmp_path, capsys, damage, message):
    assert call(*damage(folds[0]), "--output", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.startswith("dfer-train crossval: FoldsError: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_file_given_twice_is_refused_without_its_results(tmp_path, capsys):
    save_predictions(random_predictions(40), tmp_path / "fold.csv")
    assert call(tmp_path / "fold.csv", tmp_path / "fold.csv") == 1
    assert "40 clips are in two" in capsys.readouterr().err
