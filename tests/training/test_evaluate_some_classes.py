"""A run that tells some classes apart, as each net of CFC-SP does, is measured on these alone."""

import dataclasses
import json
from pathlib import Path

import pytest

import training.cli
import training.data.sources
import training.train
from training.data.classes import OTHER_CLASSES
from training.datasets.corpus import Clip, Corpus

from .corpora import LABELS, make_corpus
from .test_train_on_corpora import CONFIG

CLASSES = {"sad": ["sadness"], "glad": ["happiness"]}
# Every fourth frame has no label, and 5 of the others are neutral.
VIDEO = Clip("test/000", Path("unused"), None, tuple(LABELS[frame % 3] if frame % 4 else None for frame in range(20)))


@pytest.mark.parametrize(("by_frame", "count"), [(False, 5), (True, 10)], ids=["clips", "frames"])
def test_a_run_of_some_classes_is_measured_on_these_alone(tmp_path, monkeypatch, by_frame, count):
    made, cache = make_corpus(tmp_path)
    split = made.load(tmp_path, None)
    if by_frame:
        split = dataclasses.replace(split, test=(VIDEO,))
    corpus = Corpus("colours", "Colours", lambda _root, _fold: split, 1, {}, "made here")
    monkeypatch.setitem(training.data.sources.CORPORA, "colours", corpus)
    config = dataclasses.replace(CONFIG, stages=((32, 1, 1.0),), select="last", classes=CLASSES)
    run = tmp_path / "run"
    training.train.train(config, tmp_path, run, prepared_root=cache)

    words = ["evaluate", run, "colours", "--data-root", tmp_path, "--prepared", cache, "--batch-size", 3]
    assert training.cli.main([str(word) for word in words]) == 0
    results = json.loads((run / "evaluation" / "results.json").read_text(encoding="utf-8"))
    assert results["classes"] == CLASSES
    assert results["fine"]["count"] == count
    assert set(results["fine"]["recall"]) == set(CLASSES)
    assert results["clips"]["left_out_of_annotation"][OTHER_CLASSES] == (4 if by_frame else 6)
    card = (run / "hub" / "README.md").read_text(encoding="utf-8")
    assert "Only what shows a class that the run tells apart is counted: sad (sadness); glad (happiness)." in card

    # The number of workers changes no figure.
    words += ["--output", tmp_path / "again", "--workers", 2]
    assert training.cli.main([str(word) for word in words]) == 0
    assert json.loads((tmp_path / "again" / "results.json").read_text(encoding="utf-8")) == results
