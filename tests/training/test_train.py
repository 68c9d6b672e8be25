import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForVideoClassification

import training.train
from training.config import TrainConfig, build_config
from training.data.still_dataset import StillSource

from .runs import CLIPS, STILLS, TRUNK, StoppedError, log_of, stop_after


@pytest.mark.parametrize("config", [STILLS, CLIPS], ids=lambda config: config.system)
def test_a_run_writes_a_checkpoint_and_a_log_and_goes_on_where_it_stopped(corpus, tmp_path, monkeypatch, config):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    training.train.train(config, corpus, whole)

    rows = log_of(whole)
    assert [(row["epoch"], row["image_size"]) for row in rows] == [("0", "32"), ("1", "40")]
    assert all(float(row["loss"]) > 0 and 0 <= float(row["war"]) <= 1 and 0 <= float(row["uar"]) <= 1 for row in rows)
    loaded = AutoModelForVideoClassification.from_pretrained(whole / "checkpoint")
    assert loaded.config.image_size == 40
    assert loaded.config.hidden_sizes == TRUNK["hidden_sizes"]

    with monkeypatch.context() as patched:
        stop_after(patched, config.epoch_length // config.batch_size + 1)
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
        Path(folder).mkdir(parents=True)
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


def test_unknown_data_is_refused(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"Expected `data` to be one of ferplus_stills, ferplus_clips.*, got 'dfw'"):
        training.train.train(dataclasses.replace(STILLS, data="dfw"), corpus, tmp_path)


def test_a_3d_system_is_not_trained_in_half_precision_on_a_cpu(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    config = dataclasses.replace(CLIPS, system="r3d", model=TRUNK, trunk_learning_rate_share=1.0)
    with pytest.raises(ValueError, match=r"3D convolutions on a CPU.*got 'bf16'\. Use `--mixed_precision no`"):
        training.train.train(config, corpus, tmp_path)


def test_a_loss_that_is_not_finite_ends_a_run_and_leaves_what_was_saved(corpus, tmp_path, monkeypatch):
    config = dataclasses.replace(STILLS, stages=((32, 2, 1.0),))
    factor = training.train.learning_rate_factor

    def diverging(schedule, step, **lengths):
        return factor(schedule, step, **lengths) if step < 3 else 1e30

    monkeypatch.setattr(training.train, "learning_rate_factor", diverging)
    with pytest.raises(FloatingPointError, match=r"got (nan|inf) in epoch 1\. What was saved before it is whole"):
        training.train.train(config, corpus, tmp_path)
    assert len(log_of(tmp_path)) == 1
    saved = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in saved.values())


def test_a_run_of_another_recipe_is_not_gone_on_with(corpus, tmp_path):
    config = dataclasses.replace(STILLS, stages=((32, 1, 1.0),), epoch_length=8)
    training.train.train(config, corpus, tmp_path)
    with pytest.raises(ValueError, match=r"as it began, with config\.seed 0; got config\.seed 1\. Give the same"):
        training.train.train(dataclasses.replace(config, seed=1), corpus, tmp_path)


def test_a_run_says_what_it_takes_to_run_it_again(corpus, tmp_path):
    config = dataclasses.replace(STILLS, stages=((32, 1, 1.0),), epoch_length=8)
    training.train.train(config, corpus, tmp_path)
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert build_config(TrainConfig, run["config"], "run.json") == config
    assert run["num_processes"] == 1
    assert torch.__version__.startswith(run["versions"]["torch"])
    assert json.loads((tmp_path / "initialisation.json").read_text(encoding="utf-8")) == []


def test_a_run_ends_with_a_folder_for_the_hub(corpus, tmp_path):
    config = dataclasses.replace(STILLS, stages=((32, 1, 1.0),), epoch_length=8)
    training.train.train(config, corpus, tmp_path / "my-run")
    hub = tmp_path / "my-run" / "hub"
    card = (hub / "README.md").read_text(encoding="utf-8")
    assert "# my-run" in card
    assert "The last epoch is kept" in card
    assert "An expression is not an emotion" in card
    kept = log_of(tmp_path / "my-run")[-1]
    assert f"| {100 * float(kept['war']):.2f} | {100 * float(kept['uar']):.2f} |" in card
    assert {path.name for path in hub.glob("*.py")} >= {"modeling_frame_resnet.py", "video_processing_dfer.py"}
    weights = [load_file(folder / "model.safetensors") for folder in (hub, tmp_path / "my-run" / "checkpoint")]
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())


def test_micro_batches_learn_the_same_as_whole_ones(corpus, tmp_path):
    """Without batch statistics and random views, two micro-batches make the same step as one batch."""
    weights = []
    for accumulation in (1, 2):
        config = dataclasses.replace(
            STILLS, stages=((32, 1, 0.0),), epoch_length=16, accumulation=accumulation, model=TRUNK
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(StillSource, "training_batch", as_inference_sees_them)
            patched.setattr(
                torch.nn.BatchNorm2d, "train", lambda module, _mode=True: torch.nn.Module.train(module, False)
            )
            training.train.train(config, corpus, tmp_path / str(accumulation))
        weights.append(load_file(tmp_path / str(accumulation) / "checkpoint" / "model.safetensors"))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-5)


def as_inference_sees_them(self, indices, size, _generator, *, strength=1.0):
    del strength
    return self.batch(indices, size)
