"""A run is not tested on the clips it has learnt from, and folds are put together only if they are one experiment."""

import dataclasses
import json
import shutil

import pytest

import training.cli
import training.data.sources
import training.train
from training.cache.prepared import PreparationMismatchError
from training.engine.provenance import SeenClipsError, is_related
from training.evaluate import evaluate

from .corpora import make_folds
from .test_train_on_corpora import CONFIG


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A corpus of two folds, and a run that left out each, and one of another recipe."""
    root = tmp_path_factory.mktemp("folds")
    corpus, cache = make_folds(root)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ACCELERATE_USE_CPU", "true")
        patched.setitem(training.data.sources.CORPORA, "folds", corpus)
        config = dataclasses.replace(CONFIG, data="folds", stages=((32, 1, 1.0),), select="last")
        for name, fold, seed in (("one", 1, 0), ("two", 2, 0), ("other", 2, 1)):
            chosen = dataclasses.replace(config, seed=seed)
            training.train.train(chosen, root, root / name, fold=fold, prepared_root=cache)
        yield root


def measure(root, name, fold, **options):
    return evaluate(root / name, "folds", root, root / "cache", fold=fold, **options)


def test_a_run_is_measured_on_the_fold_that_it_left_out(folds, tmp_path):
    results = measure(folds, "one", 1)
    assert results["seen_in_training"] == 0
    assert (results["run"]["corpus"], results["run"]["fold"]) == ("folds", 1)
    card = (folds / "one" / "hub" / "README.md").read_text(encoding="utf-8")
    assert "| on folds, fold 1, test part | WAR (accuracy) |" in card
    assert f"| one | {results['fine']['war']:.2f} |" in card
    # A checkpoint that was moved away still knows its test part.
    shutil.copytree(folds / "one" / "checkpoint", tmp_path / "moved")
    assert measure(folds, tmp_path / "moved", 1)["seen_in_training"] == 0


@pytest.mark.parametrize("place", ["one", "one/checkpoint", "one/hub", "moved"])
def test_a_run_is_not_measured_on_what_it_has_learnt_from(folds, tmp_path, place):
    if place == "moved":
        shutil.copytree(folds / "one" / "checkpoint", tmp_path / "moved")
        place = tmp_path / "moved"
    with pytest.raises(SeenClipsError, match=r"trained on folds, fold 1, .* 6 of the 6 clips, such as '001'"):
        measure(folds, place, 2)


def test_what_was_seen_may_be_measured_and_results_and_card_say_so(folds, tmp_path):
    shutil.copytree(folds / "one", tmp_path / "one")
    results = evaluate(tmp_path / "one", "folds", folds, folds / "cache", fold=2, allow_seen=True)
    assert results["seen_in_training"] == 6
    written = json.loads((tmp_path / "one" / "evaluation_folds_2_test" / "results.json").read_text(encoding="utf-8"))
    assert written["seen_in_training"] == 6
    card = (tmp_path / "one" / "hub" / "README.md").read_text(encoding="utf-8")
    assert "**6 of these clips were seen in training**" in card


def test_a_run_is_not_measured_on_faces_that_were_prepared_otherwise(folds, tmp_path):
    _, cache = make_folds(tmp_path)
    record = json.loads((cache / "preparation.json").read_text(encoding="utf-8"))
    (cache / "preparation.json").write_text(json.dumps(record | {"settings": {"margin": 2}}), encoding="utf-8")
    with pytest.raises(PreparationMismatchError, match=r"settings \{\}, as those that the checkpoint was trained on"):
        evaluate(folds / "one", "folds", folds, cache, fold=1)


def test_folds_are_put_together_if_they_are_one_recipe(folds, tmp_path, capsys):
    for name, fold in (("one", 1), ("two", 2), ("other", 2)):
        measure(folds, name, fold, output=tmp_path / name)
    assert training.cli.main(["crossval", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert training.cli.main(["crossval", str(tmp_path / "one"), str(tmp_path / "other")]) == 1
    assert "Expected folds of one recipe" in capsys.readouterr().err


def test_releases_of_the_same_recordings_are_related():
    assert is_related("raf_db", "raf_db_original")
    assert is_related("aff_wild2_from_0", "aff_wild2")
    assert not is_related("dfew", "mafw")
    assert not is_related("", "mafw")
