"""The figures of the papers, from tiny runs."""

import json

import cv2
import numpy as np
import pytest
import torch

import dfer_hf
from training.cache.prepared import Preparation, write_prepared
from training.engine.run_folder import RunFolder
from training.papers import figures
from training.papers.figures import build_parser, draw_gain, evidence_by_level, main, multiplied_attention

from ..small_source import random_predictions


@pytest.fixture(autouse=True)
def coarse_pixels(monkeypatch):
    # As many as the tests need.
    monkeypatch.setattr("training.evaluation.figures.DPI", 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints without training, and a cache of two clips."""
    root = tmp_path_factory.mktemp("figures")
    for system, name, fields in (
        ("nr_dfernet", "with", {}),
        ("nr_dfernet", "without", {"dynamic_class_token": False}),
        ("aen", "aen", {}),
    ):
        torch.manual_seed(0)
        model_class = dfer_hf.systems()[system]
        model = model_class(model_class.config_class.from_preset("tiny", **fields))
        model.save_pretrained(root / name)
        side, frames = model.config.image_size, model.config.num_frames
        dfer_hf.DferVideoProcessor(size={"height": side, "width": side}, num_frames=frames).save_pretrained(
            root / name
        )
    clips = np.random.default_rng(0).integers(0, 256, (2, 9, 112, 112, 3), dtype=np.uint8)
    record = Preparation("made_up", "mtcnn", "arcface_112")
    write_prepared(root / "cache", dict(zip(("first", "second"), clips, strict=True)), record)
    return root


def draw(*words):
    return main(build_parser().parse_args([str(word) for word in words]))


def looks_drawn(path):
    picture = cv2.imread(str(path))
    return min(picture.shape[:2]) > 60 and picture.std() > 5


def test_the_gain_of_the_filter_is_drawn_by_epoch(tmp_path):
    rows = [{"epoch": epoch, "war": 0.5 + 0.02 * epoch, "war_without_filter": 0.5} for epoch in range(4)]
    draw_gain(rows, tmp_path / "gain.png", title="a run")
    assert looks_drawn(tmp_path / "gain.png")
    with pytest.raises(ValueError, match="Expected a log with `war` and `war_without_filter` for each epoch, got ep"):
        draw_gain([{"epoch": 0, "war": 0.5}], tmp_path / "gain.png", title="a run")


def test_the_gain_is_read_from_the_log_of_a_run(tmp_path, monkeypatch):
    progress = {"epochs_done": 1, "best_epoch": 0, "rows": [{"epoch": 0, "war": 0.6, "war_without_filter": 0.5}]}
    RunFolder(tmp_path).progress_file.parent.mkdir(parents=True, exist_ok=True)
    RunFolder(tmp_path).progress_file.write_text(json.dumps(progress), encoding="utf-8")
    drawn = []
    monkeypatch.setattr(figures, "draw_gain", lambda rows, path, *, title: drawn.append((rows, path, title)))
    draw("gain", tmp_path, "--output", tmp_path / "gain.png")
    ((rows, _, title),) = drawn
    assert rows[0]["war_without_filter"] == 0.5
    assert title == tmp_path.name


def test_attention_is_multiplied_through_the_layers_and_normalised():
    """Plainly: for each token the product over the layers of the class token's mean attention, over their sum."""
    attentions = [torch.rand(2, 3, 6, 6).softmax(dim=-1) for _ in range(4)]
    expected = torch.ones(2, 5)
    for weights in attentions:
        expected = expected * weights.mean(dim=1)[:, 0, 1:]
    expected = expected / expected.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(multiplied_attention(attentions), expected)


def test_attention_with_and_without_the_dynamic_class_token(folder, tmp_path):
    words = ("--prepared", folder / "cache", "--clips", "first", "second", "--output", tmp_path / "figure5.png")
    assert draw("attention", folder / "without", folder / "with", *words) == 0
    assert looks_drawn(tmp_path / "figure5.png")
    with pytest.raises(ValueError, match="Expected a checkpoint of NR-DFERNet, got Aen"):
        draw("attention", folder / "aen", *words)


def test_each_semantic_level_of_aen_has_its_evidence(folder, tmp_path):
    words = ("--prepared", folder / "cache", "--clips", "first", "--output", tmp_path / "figure6.png")
    assert draw("levels", folder / "aen", *words) == 0
    assert looks_drawn(tmp_path / "figure6.png")
    checkpoint = figures.load_checkpoint(folder / "aen")
    clip = np.random.default_rng(1).integers(0, 256, (checkpoint.model.config.num_frames, 112, 112, 3), np.uint8)
    levels = evidence_by_level(checkpoint, clip)
    # The lower the level, the finer the map.
    assert levels[0].shape[1] > levels[1].shape[1] > levels[2].shape[1]
    assert all(maps.min() >= 0 and 0 < maps.max() <= 1 for maps in levels.values())
    with pytest.raises(ValueError, match="Expected a checkpoint of AEN, got NrDfernet"):
        draw("levels", folder / "with", *words)


def test_features_of_several_systems_stand_beside_each_other(tmp_path):
    features = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    systems = {name: random_predictions(20, features=features) for name in ("Former-DFER", "AEN")}
    figures.draw_features_beside(systems, tmp_path / "figure7.png", title="made up")
    assert looks_drawn(tmp_path / "figure7.png")


def test_confusions_with_and_without_the_filter_stand_beside_each_other(tmp_path):
    for name, counts in (("with", [[3, 1], [0, 4]]), ("without", [[2, 2], [1, 3]])):
        (tmp_path / name).mkdir()
        results = {"fine": {"recall": {"neutral": 1.0, "fear": 1.0}, "confusion": counts}}
        (tmp_path / name / "results.json").write_text(json.dumps(results), encoding="utf-8")
    paths = [tmp_path / name / "results.json" for name in ("without", "with")]
    assert draw("confusions", *paths, "--output", tmp_path / "confusions.png") == 0
    assert looks_drawn(tmp_path / "confusions.png")
