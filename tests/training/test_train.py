import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForVideoClassification

import training.train
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from training.initialise import build_model, initialise_from_stills
from training.sources import build_sources

from .runs import CLIPS, STILLS, TRUNK, StoppedError, log_of, stop_after


@pytest.mark.parametrize("config", [STILLS, CLIPS], ids=lambda config: config.system)
def test_a_run_writes_a_checkpoint_and_a_log_and_goes_on_where_it_stopped(
    corpus, tmp_path, monkeypatch, config
):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    training.train.train(config, corpus, whole)

    rows = log_of(whole)
    assert [(row["epoch"], row["image_size"]) for row in rows] == [("0", "32"), ("1", "40")]
    assert all(
        float(row["loss"]) > 0 and 0 <= float(row["war"]) <= 1 and 0 <= float(row["uar"]) <= 1 for row in rows
    )
    loaded = AutoModelForVideoClassification.from_pretrained(whole / "checkpoint")
    assert loaded.config.image_size == 40
    assert loaded.config.hidden_sizes == TRUNK["hidden_sizes"]

    with monkeypatch.context() as patched:
        stop_after(patched, config.steps_per_epoch + 1)
        with pytest.raises(StoppedError):
            training.train.train(config, corpus, parted)
    assert len(log_of(parted)) == 1
    training.train.train(config, corpus, parted)
    assert log_of(parted) == rows
    weights = [load_file(folder / "checkpoint" / "model.safetensors") for folder in (whole, parted)]
    assert set(weights[0]) == set(weights[1])
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_run_stopped_before_its_first_epoch_was_saved_starts_again(corpus, tmp_path, monkeypatch):
    config = dataclasses.replace(STILLS, stages=((32, 1, 1.0),))

    def stop(_accelerator, folder):
        Path(folder).mkdir()
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(training.train.Accelerator, "save_state", stop)
        with pytest.raises(StoppedError):
            training.train.train(config, corpus, tmp_path / "run")
    training.train.train(config, corpus, tmp_path / "run")
    training.train.train(config, corpus, tmp_path / "other")
    assert log_of(tmp_path / "run") == log_of(tmp_path / "other")


def test_a_finished_run_is_left_alone(corpus, tmp_path):
    config = dataclasses.replace(STILLS, stages=((32, 1, 1.0),), epoch_length=8)
    training.train.train(config, corpus, tmp_path)
    before = (tmp_path / "checkpoint" / "model.safetensors").read_bytes()
    training.train.train(config, corpus, tmp_path)
    assert (tmp_path / "checkpoint" / "model.safetensors").read_bytes() == before
    assert len(log_of(tmp_path)) == 1


@pytest.mark.slow
def test_training_learns(corpus, tmp_path):
    config = dataclasses.replace(
        STILLS,
        stages=((32, 12, 0.3),),
        epoch_length=160,
        batch_size=32,
        learning_rate=0.02,
        ema_decay=0.8,
        model={"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    )
    training.train.train(config, corpus, tmp_path)
    rows = log_of(tmp_path)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["war"]) > 0.5


def test_unknown_data_is_refused(corpus):
    with pytest.raises(ValueError, match="Expected `data` to be ferplus_stills or ferplus_clips, got 'dfew'"):
        build_sources(dataclasses.replace(STILLS, data="dfew"), corpus)


def test_the_first_weights_follow_from_the_seed():
    torch.manual_seed(3)
    first = build_model(STILLS).state_dict()
    torch.manual_seed(3)
    second = build_model(STILLS).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def recogniser(tmp_path):
    torch.manual_seed(5)
    model = FrameResNetForVideoClassification(FrameResNetConfig(**TRUNK, classifier_dropout=0.2))
    for buffer in model.buffers():
        buffer.add_(3)
    model.save_pretrained(tmp_path / "stills")
    return model


@pytest.mark.parametrize(
    ("config", "parts"), [(STILLS, ["trunk"]), (CLIPS, ["trunk", "guide"])], ids=["stills", "clips"]
)
def test_starting_from_stills_copies_trunk_and_guide(recogniser, tmp_path, config, parts):
    model = build_model(config)
    assert initialise_from_stills(model, tmp_path / "stills") == parts
    expected = recogniser.state_dict()
    for name, tensor in model.trunk.state_dict().items():
        assert torch.equal(tensor, expected[f"trunk.{name}"]), name
    if "guide" in parts:
        for name, tensor in model.guide.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
        assert not any(parameter.requires_grad for parameter in model.guide.parameters())
        assert not model.guide.training
    model = build_model(dataclasses.replace(config, initialise_from=str(tmp_path / "stills")))
    assert torch.equal(next(model.trunk.parameters()), next(recogniser.trunk.parameters()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_sizes": [4, 6, 8, 12]}, r"Expected a system with a trunk of widths \[4, 6, 8, 10\]"),
        (
            {"id2label": {0: "a", 1: "b"}, "groups": {"all": ["a", "b"]}},
            "Expected the classes {0: 'a', 1: 'b'}, but",
        ),
    ],
    ids=["widths", "classes"],
)
@pytest.mark.usefixtures("recogniser")
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, fields, message):
    model = FrameResNetForVideoClassification(FrameResNetConfig(**TRUNK | fields))
    with pytest.raises(ValueError, match=message):
        initialise_from_stills(model, tmp_path / "stills")
