import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import balanced_accuracy_score

import dfer_hf
import training.cli
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training import evaluate
from training.data.still_dataset import StillSource
from training.datasets.corpus import Clip, CorpusError, Split
from training.datasets.ferplus import load_ferplus
from training.evaluation.calibration import store_temperature
from training.evaluation.prediction_files import load_predictions

from .small_source import SmallSource, random_predictions


class FakePrepared:
    """A cache that fits every processor unless `refused` is set."""

    refused = False

    def __init__(self, root):
        self.root = root

    def check_processor(self, processor):
        if self.refused:
            raise ValueError(f"Expected a cache aligned as {processor.alignment}, got corpus.")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a checkpoint of a small model."""
    folder = tmp_path_factory.mktemp("runs") / "my-run"
    torch.manual_seed(0)
    config = FrameResNetConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1], image_size=40)
    model = FrameResNetForVideoClassification(config)
    with torch.no_grad():
        model.classifier.weight.normal_(std=1.0)
    model.save_pretrained(folder / "checkpoint")
    dfer_hf.DferVideoProcessor(size={"height": 40, "width": 40}).save_pretrained(folder / "checkpoint")
    return folder


@pytest.fixture
def corpus_modules(monkeypatch):
    """Replace the code that reads a dataset: 17 clips, of which three are not in the cache."""
    source = SmallSource(14)
    names = [*source.names, "lost-b", "lost-a", "lost-c"]

    def load(root, fold):
        if not Path(root).is_dir():
            raise CorpusError(f"Expected the release at {root}, found none.")
        labels = [SEVEN_EMOTIONS[index % 7] for index in range(len(names))]
        clips = tuple(
            Clip(name, root / name, label, person=f"person {index % 11}")
            for index, (name, label) in enumerate(zip(names, labels, strict=True))
        )
        left_out = {"compound label": 4, "annotators disagree": 2}
        return Split("small", fold, SEVEN_EMOTIONS, train=clips[:7], test=clips, left_out=left_out)

    def build_test_source(clips, label_names, prepared, processor, model):
        assert isinstance(prepared, FakePrepared)
        prepared.check_processor(processor)
        assert tuple(label_names) == SEVEN_EMOTIONS
        assert model.config.model_type == "dfer_frame_resnet"
        return SmallSource(len(clips) if len(clips) < 14 else 14)

    corpus = SimpleNamespace(load=load)
    monkeypatch.setattr(evaluate, "find_corpus", lambda _name: corpus)
    monkeypatch.setattr(evaluate, "PreparedClips", FakePrepared)
    monkeypatch.setattr(evaluate, "build_test_source", build_test_source)
    return source


def call(*words):
    return training.cli.main(["evaluate", *map(str, words)])


def test_a_run_is_measured_and_two_runs_write_the_same(run, corpus_modules, tmp_path, capsys):
    places = ["--data-root", tmp_path, "--prepared", tmp_path / "cache", "--fold", 2, "--batch-size", 4]
    for name in ("first", "second"):
        assert call(run, "small", *places, "--output", tmp_path / name) == 0
    for file in ("results.json", "predictions.csv"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["predictions.csv", "results.json"]

    text = (tmp_path / "first" / "results.json").read_text(encoding="utf-8")
    results = json.loads(text)
    assert str(tmp_path) not in text
    expected = {"checkpoint": "my-run", "system": "dfer_frame_resnet", "corpus": "small", "fold": 2}
    expected |= {"split": "test", "image_size": 40, "temperature": 1.0, "mixed_precision": "no"}
    assert expected.items() <= results.items()
    assert results["clips"] == {
        "in_split": 17,
        "predicted": 14,
        "left_out_of_annotation": {"annotators disagree": 2, "compound label": 4},
        "without_crops": {"count": 3, "names": ["lost-a", "lost-b", "lost-c"]},
    }
    assert results["command"] == (
        "python -m training.evaluate my-run small --data-root <small> --prepared <cache> --fold 2 --batch-size 4"
    )
    assert results["versions"]["dfer_hf"] == dfer_hf.__version__
    predictions = load_predictions(tmp_path / "first" / "predictions.csv")
    assert predictions.names == tuple(corpus_modules.names)
    assert predictions.persons == tuple(f"person {index % 11}" for index in range(14))
    truth, answers = predictions.labels, predictions.predicted
    assert results["fine"]["war"] == pytest.approx(100 * (truth == answers).mean(), abs=1e-4)
    assert results["fine"]["uar"] == pytest.approx(100 * balanced_accuracy_score(truth, answers), abs=1e-4)
    assert results["confidence_intervals"]["drawn"] == "persons or videos"
    assert "my-run on small fold 2, test: WAR" in capsys.readouterr().out


def test_a_run_keeps_its_evaluations_in_folders_of_their_own(run, corpus_modules, tmp_path):
    assert len(corpus_modules) == 14
    places = ["--data-root", tmp_path, "--prepared", tmp_path]
    assert call(run, "small", *places, "--split", "train", "--parquet", "--figures") == 0
    folder = run / "evaluation_small_train"
    written = sorted(path.name for path in folder.iterdir())
    assert [name for name in written if not name.endswith(".png")] == ["predictions.parquet", "results.json"]
    assert "features.png" in written
    assert load_predictions(folder / "predictions.parquet").features is None
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["split"] == "train"
    assert results["clips"]["in_split"] == 7
    assert results["confidence_intervals"]["drawn"] == "clips"  # of too few persons
    # The same measurement in another format replaces the earlier one.
    assert call(run, "small", *places, "--split", "train") == 0
    assert {path.name for path in folder.glob("predictions*")} == {"predictions.csv"}
    assert call(run, "small", *places) == 0
    assert (run / "evaluation" / "results.json").is_file()


def test_no_other_result_is_overwritten(run, corpus_modules, tmp_path, capsys):
    assert len(corpus_modules) == 14
    places = ["--data-root", tmp_path, "--prepared", tmp_path, "--output", tmp_path / "out"]
    assert call(run, "small", *places, "--fold", 1) == 0
    before = (tmp_path / "out" / "results.json").read_bytes()
    assert call(run, "small", *places, "--fold", 2) == 1
    assert f"Expected no other results in {tmp_path / 'out'}, but there are those of fold 1" in capsys.readouterr().err
    (tmp_path / "out" / "results.json").unlink()
    assert call(run, "small", *places, "--fold", 1) == 1
    (tmp_path / "out" / "results.json").write_bytes(before)
    # The checkpoint's weights change, and the earlier results stay.
    shutil.copytree(run / "checkpoint", tmp_path / "my-run" / "checkpoint")
    weights = load_file(tmp_path / "my-run" / "checkpoint" / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, tmp_path / "my-run" / "checkpoint" / "model.safetensors", metadata={"format": "pt"})
    assert call(tmp_path / "my-run", "small", *places, "--fold", 1) == 1
    assert "weights_sha256" in capsys.readouterr().err
    assert (tmp_path / "out" / "results.json").read_bytes() == before


def test_without_a_place_to_write_nothing_is_written(run, corpus_modules, tmp_path, capsys):
    assert len(corpus_modules) == 14
    before = sorted(run.rglob("*"))
    assert call(run / "checkpoint", "small", "--data-root", tmp_path, "--prepared", tmp_path) == 0
    assert sorted(run.rglob("*")) == before
    assert "3 without crops" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("checkpoint", "root", "message"),
    [
        ("no-such-thing", ".", "CheckpointError: Unknown model 'no-such-thing'"),
        (None, "nowhere", "CorpusError: Expected the release at"),
        ("bert", ".", "model_type of this package"),
    ],
)
def test_what_does_not_fit_is_named(run, corpus_modules, tmp_path, capsys, checkpoint, root, message):
    assert len(corpus_modules) == 14
    if checkpoint == "bert":
        from transformers import VideoMAEConfig, VideoMAEForVideoClassification

        config = VideoMAEConfig(
            image_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
        VideoMAEForVideoClassification(config).save_pretrained(tmp_path / "bert")
        dfer_hf.DferVideoProcessor(size={"height": 40, "width": 40}).save_pretrained(tmp_path / "bert")
        checkpoint = tmp_path / "bert"
    places = ["--data-root", tmp_path / root, "--prepared", tmp_path]
    assert call(checkpoint or run, "small", *places, "--output", tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cache_made_for_another_processor_is_refused(run, corpus_modules, tmp_path, capsys, monkeypatch):
    assert len(corpus_modules) == 14
    monkeypatch.setattr(FakePrepared, "refused", True)
    assert call(run, "small", "--data-root", tmp_path, "--prepared", tmp_path) == 1
    assert "Expected a cache aligned as arcface_112" in capsys.readouterr().err


def test_the_temperature_of_a_checkpoint_is_measured_beside_one(run, corpus_modules, tmp_path):
    assert len(corpus_modules) == 14
    shutil.copytree(run / "checkpoint", tmp_path / "cool")
    store_temperature(tmp_path / "cool", 2.5)
    places = ["--data-root", tmp_path, "--prepared", tmp_path, "--output", tmp_path / "out"]
    assert call(tmp_path / "cool", "small", *places) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["temperature"] == 2.5
    assert results["calibration"]["fine"]["temperature"] == 1.0
    cool = results["calibration_at_temperature"]
    assert cool["fine"]["temperature"] == cool["coarse"]["temperature"] == 2.5
    assert cool["fine"]["nll"] != results["calibration"]["fine"]["nll"]


def test_a_source_of_stills_is_predicted_as_well(corpus, run):
    source = StillSource(load_ferplus(corpus, "valid"))
    model = evaluate.load_checkpoint(run / "checkpoint").model
    predictions = evaluate.predict_source(model, source, batch_size=8)
    assert len(predictions) == 21
    assert predictions.names[:2] == ("0", "1")
    np.testing.assert_array_equal(np.bincount(predictions.labels), [3] * 7)
    assert predictions.label_names[0] == Emotion.HAPPINESS


def test_videos_are_covered_by_their_frames():
    clips = tuple(Clip(name, Path(name), None) for name in ("a", "b"))
    split = Split("aff_wild2", None, SEVEN_EMOTIONS, train=(), test=clips)
    frames = random_predictions(3, names=("a/0", "a/1", "a/5"), persons=("a", "a", "a"))
    assert evaluate.coverage(split, frames)["without_crops"] == {"count": 1, "names": ["b"]}
