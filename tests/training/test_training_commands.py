"""The commands of training as people type them, each in a process of its own, and their messages about mistakes."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import training.cli
from tests.test_commands import COMMANDS
from training.engine.run_folder import RunFolder

from .layouts import write_dfew_frames, write_dfew_lists

ROOT = Path(__file__).parents[2]
DFER_TRAIN = (sys.executable, "-c", "import dfer_cli; dfer_cli.run_training()")
MODULES = sorted({word for command in COMMANDS for word in re.findall(r"-m (training\.\S+)", command)})
RECIPE = """
system = "frame_resnet"
preset = "tiny"
data = "folder"
stages = [[32, {epochs}, 1.0]]
batch_size = 4
learning_rate = 0.01
validation_share = 0.25
model = {{ num_frames = 1 }}
sampling = {{ num_segments = 1, frames_per_segment = 1 }}
"""


def start(*words, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(word) for word in words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(*words, code=0):
    process = start(*words)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return printed if code == 0 else errors


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Crops in folders of classes, and a recipe that learns from them."""
    root = tmp_path_factory.mktemp("commands")
    for part, count in (("train", 8), ("test", 2)):
        for label, name in enumerate(("happiness", "neutral")):
            folder = root / "clips" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture = np.full((112, 112, 3), 60 + 100 * label + 5 * number, np.uint8)
                cv2.imwrite(str(folder / f"{number}.png"), picture)
    (root / "recipe.toml").write_text(RECIPE.format(epochs=1), encoding="utf-8")
    (root / "long.toml").write_text(RECIPE.format(epochs=10_000), encoding="utf-8")
    return root


@pytest.mark.parametrize("words", [*([name] for name in training.cli.COMMANDS), ["tables", "run"], ["tables", "show"]])
def test_a_command_explains_itself(words):
    assert f"dfer-train {' '.join(words)}" in run(*DFER_TRAIN, *words, "--help")


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_the_readme_runs_explains_itself(module):
    assert "--help" in run(sys.executable, "-m", module, "--help")


@pytest.mark.slow
def test_the_commands_work_one_after_the_other(corpus, tmp_path):
    clips, cache, places = corpus / "clips", tmp_path / "cache", ["--data-root", corpus / "clips"]
    assert "happiness" in run(*DFER_TRAIN, "check", "folder", clips)
    run(*DFER_TRAIN, "prepare", "folder", clips, "--output", cache, "--alignment", "corpus")
    places += ["--prepared", cache]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    run(*launch, "-m", "training.train", corpus / "recipe.toml", *places, "--output", tmp_path / "run")
    run(*DFER_TRAIN, "train", corpus / "recipe.toml", *places, "--output", tmp_path / "run", "--trackers")
    assert "WAR" in run(*DFER_TRAIN, "evaluate", tmp_path / "run", "folder", *places)
    assert "Expected two folds" in run(*DFER_TRAIN, "crossval", tmp_path / "run", code=1)
    assert "no data" in run(*DFER_TRAIN, "tables", "show", "m3dfel_table2", "--output", tmp_path / "tables")
    nowhere = ["--data-root", "other=/x", "--prepared", "other=/y", "--output", tmp_path / "tables"]
    assert "Left out row 1" in run(*DFER_TRAIN, "tables", "run", "m3dfel_table2", *nowhere)
    assert (tmp_path / "run" / "hub" / "run.json").is_file()


@pytest.mark.slow
def test_ctrl_c_and_a_second_start_are_said_in_one_line(corpus, tmp_path):
    cache, output = tmp_path / "cache", tmp_path / "run"
    words = ["prepare", "folder", corpus / "clips", "--output", cache, "--alignment", "corpus"]
    assert training.cli.main([str(word) for word in words]) == 0
    words = [sys.executable, "-m", "training.train", corpus / "long.toml"]
    words += ["--data-root", corpus / "clips", "--prepared", cache, "--output", output]
    # Whoever runs the tests in the background may have Ctrl-C ignored.
    process = start(*words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    while not RunFolder(output).read_progress().epochs_done:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    (line,) = [line for line in run(*words, code=1).splitlines() if "Error" in line]
    assert "RunFolderError: Expected to be alone in" in line
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "begins again when the run is started with the same --output" in errors


def say(*words, capsys):
    """Return the error of a command that fails."""
    assert training.cli.main([str(word) for word in words]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("batch_size = 4", "batch_size = 0", "ValueError: Expected `batch_size` of 1 or more, got 0."),
        ("[32, 1, 1.0]", "[0, 1, 1.0]", "Expected `stages` of a picture size and a number of epochs of 1 or more"),
        ("[32, 1, 1.0]", "[32, 0, 1.0]", "got [32, 0, 1.0]."),
        ("batch_size = 4", 'batch_size = 4\ntrackers = ["wand"]', "Expected `trackers` among tensorboard, wandb"),
        ("batch_size = 4", "batch_size = 4\nmodel = 3", "recipe.toml is not TOML"),
    ],
)
def test_an_impossible_recipe_is_said_in_one_line(tmp_path, capsys, old, new, said):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(epochs=1).replace(old, new), encoding="utf-8")
    error = say("train", recipe, "--data-root", tmp_path, "--output", tmp_path / "run", capsys=capsys)
    assert error.startswith("dfer-train train: ValueError: ")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("finetune", "clips", "--from", "x", "--output", "y", "--processes", "0"), "of 1 or more, got '0'"),
        (("finetune", "clips", "--from", "x", "--output", "y", "--seed", "-1"), "of 0 or more, got '-1'"),
        (("evaluate", "x", "dfew", "--data-root", "y", "--prepared", "z", "--batch-size", "many"), "got 'many'"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_is_done(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        training.cli.main(list(words))
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_device_that_is_not_there_is_said_in_one_line(tmp_path, capsys):
    for device in ("foo", "cuda:99"):
        words = ["prepare", "folder", tmp_path, "--output", tmp_path / "cache", "--device", device]
        error = say(*words, capsys=capsys)
        assert "Expected a device" in error
        assert f"'{device}'" in error


def test_an_absent_fold_is_said_in_one_line(tmp_path, capsys):
    write_dfew_lists(write_dfew_frames(tmp_path), folds=(1,))
    (tmp_path / "cache").mkdir()
    words = ["--data-root", tmp_path, "--prepared", tmp_path / "cache", "--output", tmp_path / "run"]
    recipe = ROOT / "training" / "recipes" / "aen_dfew.toml"
    for fold in (2, 9):
        error = say("train", recipe, *words, "--fold", fold, capsys=capsys)
        assert error.startswith("dfer-train train: CorpusError: Expected")
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_where_an_error_was_raised_is_shown_when_asked_for(tmp_path):
    (tmp_path / "recipe.toml").write_text("batch_size = 0", encoding="utf-8")
    words = ["train", tmp_path / "recipe.toml", "--data-root", tmp_path, "--output", tmp_path / "run", "--traceback"]
    with pytest.raises(ValueError, match="lacks"):
        training.cli.main([str(word) for word in words])


def test_readme_commands_are_known():
    assert "training.train" in MODULES
    assert any(shlex.split(command)[:2] == ["dfer-train", "tables"] for command in COMMANDS)
