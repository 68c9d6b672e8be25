import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf
import training.train
from training.cache.prepared import PreparationMismatchError, PreparedClips
from training.config import Augmentation, Normalisation, Sampling, Schedule, TrainConfig
from training.engine.run_folder import RunFolder, RunFolderError
from training.engine.trackers import TrackerError

from .corpora import make_corpus, name_colours
from .runs import StoppedError, log_of

REPOSITORY = Path(__file__).parents[2]
CONFIG = TrainConfig(
    system="frame_resnet",
    preset="tiny",
    data="colours",
    stages=((32, 2, 1.0),),
    batch_size=4,
    learning_rate=0.01,
    sampling=Sampling(num_segments=16, frames_per_segment=1),
    augmentation=Augmentation(crop_area=(0.7, 1.0), brightness=0.2),
    normalisation=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    schedule=Schedule(kind="step", milestones=(1,)),
    validation_share=0.25,
)


@pytest.fixture
def colours(tmp_path, monkeypatch):
    return name_colours(monkeypatch, tmp_path, failed=("test/003",))


@pytest.mark.parametrize("system", sorted(dfer_hf.systems()))
def test_every_system_trains_on_a_corpus(colours, tmp_path, system):
    if system == "cfc_sp":
        pytest.importorskip("timm")
    shape = dfer_hf.systems()[system].config_class.from_preset("tiny")
    config = dataclasses.replace(
        CONFIG,
        system=system,
        stages=((shape.image_size, 1, 1.0),),
        epoch_length=4,
        sampling=Sampling(num_segments=shape.num_frames, frames_per_segment=1),
    )
    training.train.train(config, output=tmp_path / "run", **colours)
    row = log_of(tmp_path / "run")[0]
    assert float(row["loss"]) > 0
    model = AutoModelForVideoClassification.from_pretrained(tmp_path / "run" / "checkpoint")
    assert model.config.label_names == ["happiness", "sadness", "neutral"]
    processor = AutoVideoProcessor.from_pretrained(tmp_path / "run" / "checkpoint")
    assert (processor.detector, processor.alignment) == ("mtcnn", "arcface_112")
    assert list(processor.image_mean) == [0.5, 0.5, 0.5]


def test_the_epoch_kept_is_the_best_on_a_part_of_the_training_clips(colours, tmp_path, monkeypatch):
    seen, wars = [], [0.2, 0.9, 0.4]

    def measure(model, data, image_size, accelerator, num_workers):
        del image_size, accelerator, num_workers
        seen.append((set(data.training.names), set(data.validation.names)))
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        seen[-1] += (weights,)
        return {"war": wars[len(seen) - 1], "uar": 0.5, "f1": 0.5}

    monkeypatch.setattr(training.train, "measure", measure)
    config = dataclasses.replace(CONFIG, stages=((32, 3, 1.0),))
    training.train.train(config, output=tmp_path / "run", **colours)
    kept = load_file(tmp_path / "run" / "checkpoint" / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen[1][2].items())
    training_names, validation_names, _ = seen[0]
    assert not training_names & validation_names
    assert all(name.startswith("train/") for name in training_names | validation_names)
    assert len(training_names | validation_names) == 12
    card = (tmp_path / "run" / "hub" / "README.md").read_text(encoding="utf-8")
    assert "on a part cut from the training clips" in card
    assert "It is epoch 1" in card


def test_the_epoch_may_be_chosen_on_the_test_part_and_the_card_says_so(colours, tmp_path):
    config = dataclasses.replace(CONFIG, select="test", stages=((32, 1, 1.0),))
    training.train.train(config, output=tmp_path / "run", **colours)
    assert "best on the test part" in (tmp_path / "run" / "hub" / "README.md").read_text(encoding="utf-8")


def test_a_run_says_what_it_was_trained_on(colours, tmp_path, capsys):
    config = dataclasses.replace(CONFIG, stages=((32, 1, 1.0),))
    training.train.train(config, output=tmp_path / "run", **colours)
    run = RunFolder(tmp_path / "run")
    record = run.read_record()
    assert (record["corpus"], record["fold"]) == ("colours", None)
    assert {part: content["clips"] for part, content in record["split"].items()} == {
        "training": 9, "validation": 3, "test": 7,
    }  # fmt: skip
    prepared = PreparedClips(colours["prepared_root"])
    assert record["cache"]["preparation"] == prepared.record.described()
    assert record["cache"]["sha256"] == prepared.digest([*prepared.names, "test/003"])
    with run.clips_file.open(newline="", encoding="utf-8") as file:
        clips = list(csv.DictReader(file))
    assert {row["name"] for row in clips if row["part"] == "training"} | {
        row["name"] for row in clips if row["part"] == "validation"
    } == {f"train/{number:03d}" for number in range(12)}
    # Clips that the annotation or the preparation left out are counted in the log, in run.json and in the card.
    assert record["left_out"] == {"annotation": {"compound label": 2}, "training": {}, "test": {"NoFaceFoundError": 1}}
    said = "1 test clips left out because they could not be prepared (1 NoFaceFoundError)"
    assert said in capsys.readouterr().out
    assert said in (run.hub / "README.md").read_text(encoding="utf-8")


def test_a_half_run_does_not_go_on_over_a_cache_that_was_prepared_otherwise(colours, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(training.train, "check_loss", stop_in_epoch_1)
        with pytest.raises(StoppedError):
            training.train.train(CONFIG, output=tmp_path / "run", **colours)
    record = colours["prepared_root"] / "preparation.json"
    content = json.loads(record.read_text(encoding="utf-8")) | {"low_light": True}
    record.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"with cache\.preparation\.low_light False; got .*low_light True"):
        training.train.train(CONFIG, output=tmp_path / "run", **colours)


def stop_in_epoch_1(_loss, epoch):
    if epoch == 1:
        raise StoppedError


def test_weights_of_faces_that_were_prepared_or_normalised_otherwise_are_refused(colours, tmp_path):
    config = dataclasses.replace(CONFIG, stages=((32, 1, 1.0),), epoch_length=4)
    training.train.train(config, output=tmp_path / "grey", **colours)
    # A run folder can be given in place of its checkpoint.
    alike = dataclasses.replace(config, initialise_from=(str(tmp_path / "grey"),))
    training.train.train(alike, output=tmp_path / "alike", **colours)
    other = dataclasses.replace(alike, normalisation=Normalisation())
    with pytest.raises(PreparationMismatchError, match=r"image_mean \[0\.0, .*those of .*grey were trained"):
        training.train.train(other, output=tmp_path / "other", **colours)
    # The second run counts the clips of the first as seen.
    seen = RunFolder(tmp_path / "alike").clips_file.read_text(encoding="utf-8")
    assert "colours,train/003,initialisation" in seen


def events_of(output):
    (file,) = (output / "tensorboard").glob("events*")
    events = EventAccumulator(str(file)).Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def test_a_run_has_one_event_file_however_often_it_stops(colours, tmp_path, monkeypatch):
    training.train.train(CONFIG, output=tmp_path / "whole", **colours)
    with monkeypatch.context() as patched:
        patched.setattr(training.train, "check_loss", stop_in_epoch_1)
        with pytest.raises(StoppedError):
            training.train.train(CONFIG, output=tmp_path / "stopped", **colours)
    assert [step for step, _ in events_of(tmp_path / "stopped")] == [0]
    training.train.train(CONFIG, output=tmp_path / "stopped", **colours)
    assert events_of(tmp_path / "stopped") == events_of(tmp_path / "whole")
    # Another tracker changes no result, so the run may resume with it.
    other = dataclasses.replace(CONFIG, trackers=())
    training.train.train(other, output=tmp_path / "stopped", **colours)


def test_a_tracker_that_is_not_installed_is_named(colours, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(TrackerError, match=r"wandb is not installed\. Run `pip install wandb`"):
        training.train.train(dataclasses.replace(CONFIG, trackers=("wandb",)), output=tmp_path / "run", **colours)


def test_a_corpus_without_its_cache_is_refused(colours, tmp_path):
    with pytest.raises(ValueError, match=r"Expected the cache of colours's face crops\. Make it with"):
        training.train.train(CONFIG, colours["data_root"], tmp_path / "run")


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """A corpus, and a program that trains on it with dropout, average and micro-batches."""
    root = tmp_path_factory.mktemp("colours")
    make_corpus(root)
    program = root / "program.py"
    program.write_text(
        f"""
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY)!r})
import torch
torch.set_num_threads(1)
import training.data.sources, training.train
from tests.training.corpora import LABELS
from tests.training.test_train_on_corpora import CONFIG
from training.datasets.corpus import Clip, Corpus, Split
if __name__ == "__main__":
    output, workers = Path(sys.argv[1]), int(sys.argv[2])
    parts = {{
        part: tuple(
            Clip(f"{{part}}/{{n:03d}}", Path(), LABELS[n % 3], person=f"{{part}}{{n // 3}}") for n in range(count)
        )
        for part, count in (("train", 12), ("test", 7))
    }}
    split = Split("colours", None, LABELS, parts["train"], parts["test"])
    training.data.sources.CORPORA["colours"] = Corpus("colours", "Colours", lambda *_: split, 1, {{}}, "made here")
    config = dataclasses.replace(
        CONFIG, stages=((32, 6, 1.0),), ema_decay=0.9, accumulation=2, model={{"classifier_dropout": 0.5}}
    )
    training.train.train(config, Path(), output, prepared_root=Path({str(root / "cache")!r}), num_workers=workers)
""",
        encoding="utf-8",
    )
    return program


def start(program, output, *, workers=0, processes=1):
    command = [sys.executable, str(program), str(output), str(workers)]
    if processes > 1:
        command[:1] = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
            "--master-port", str(29600 + os.getpid() % 300),
        ]  # fmt: skip
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def weights_of(output):
    return load_file(output / "checkpoint" / "model.safetensors")


@pytest.mark.slow
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(long_run, tmp_path):
    finish(start(long_run, tmp_path / "whole"))
    for attempt, epochs in enumerate((1, 3)):
        process = start(long_run, tmp_path / "killed")
        while process.poll() is None:
            progress = tmp_path / "killed" / "progress.json"
            if progress.is_file() and json.loads(progress.read_text(encoding="utf-8"))["epochs_done"] >= epochs:
                # Somewhere in the next epoch.
                time.sleep(0.05 * attempt)
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        process.communicate()
    assert len(log_of(tmp_path / "killed")) < 6, "it was over before it was killed"
    finish(start(long_run, tmp_path / "killed", workers=2))
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    expected = weights_of(tmp_path / "whole")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(tmp_path / "killed").items())


@pytest.mark.slow
def test_two_processes_train_and_go_on_together(long_run, tmp_path):
    finish(start(long_run, tmp_path / "two", processes=2))
    rows = log_of(tmp_path / "two")
    assert len(rows) == 6
    run = json.loads((tmp_path / "two" / "run.json").read_text(encoding="utf-8"))
    assert run["num_processes"] == 2
    assert (tmp_path / "two" / "hub" / "README.md").is_file()
    process = start(long_run, tmp_path / "two")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "with num_processes 2; got num_processes 1" in output
