import errno
import json
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from training.config import TrainConfig
from training.disk import DiskFullError
from training.engine.run_folder import RunFolder, RunFolderError

CONFIG = TrainConfig(
    system="frame_resnet", data="ferplus_stills", stages=((32, 4, 1.0),), batch_size=8, learning_rate=0.1
)
SETTINGS = {"corpus": "dfew", "fold": 1, "cache": {"sha256": "a", "preparation": {"low_light": False}}}


def run_epochs(folder, last, *, settings=SETTINGS):
    """Train one number, which grows by one in every epoch, until the epochs before `last` are done, and return it."""
    accelerator, run = Accelerator(), RunFolder(folder)
    with run.opened(CONFIG, settings, num_epochs=4):
        model = accelerator.prepare(torch.nn.Linear(1, 1))
        torch.nn.Module.requires_grad_(model, False)
        if run.is_new:
            model.weight.zero_()
        else:
            run.load_state(accelerator)
        for epoch in range(run.progress.epochs_done, last):
            model.weight += 1
            row = {"epoch": epoch, "value": float(model.weight)}
            run.save_state(accelerator, row, is_best=epoch != 1)
    return float(model.weight)


@pytest.fixture
def three_epochs(tmp_path):
    assert run_epochs(tmp_path / "run", 3) == 3
    return RunFolder(tmp_path / "run")


def test_a_run_goes_on_where_it_stopped(three_epochs):
    assert three_epochs.read_progress().epochs_done == 3
    assert three_epochs.read_progress().best_epoch == 2
    assert run_epochs(three_epochs.folder, 4) == 4


def cut_weights(run):
    weights = run.states[1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def flip_a_byte(run):
    weights = run.states[1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def lose_random_state(run):
    (run.states[1] / "random_states_0.pkl").unlink()


def stop_in_the_middle_of_saving(run):
    (run.states[1] / "progress.json").unlink()


def cut_progress_of_the_state(run):
    (run.states[1] / "progress.json").write_text('{"epochs_done": 3', encoding="utf-8")


@pytest.mark.parametrize(
    "damage", [cut_weights, flip_a_byte, lose_random_state, stop_in_the_middle_of_saving, cut_progress_of_the_state]
)
def test_a_damaged_state_falls_back_to_the_one_before_it_with_a_word(three_epochs, damage, capsys):
    damage(three_epochs)
    assert run_epochs(three_epochs.folder, 4) == 4
    assert "The state after epoch 2" in capsys.readouterr().err
    rows = three_epochs.read_progress().rows
    assert [(row["epoch"], row["value"]) for row in rows] == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]


def test_a_damaged_progress_of_the_run_is_read_from_its_state(three_epochs, capsys):
    three_epochs.progress_file.write_text("", encoding="utf-8")
    assert run_epochs(three_epochs.folder, 4) == 4
    assert capsys.readouterr().err == ""


def test_without_any_whole_state_a_run_is_not_begun_again_over_the_old_one(three_epochs):
    cut_weights(three_epochs)
    (three_epochs.states[0] / "progress.json").unlink()
    with pytest.raises(RunFolderError, match=r"Expected a whole state in .* damaged or incomplete"):
        run_epochs(three_epochs.folder, 4)


def test_a_finished_run_needs_no_state(three_epochs):
    run_epochs(three_epochs.folder, 4)
    cut_weights(three_epochs)
    run = RunFolder(three_epochs.folder)
    with run.opened(CONFIG, SETTINGS, num_epochs=4):
        assert run.progress.epochs_done == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fold": 2}, "with fold 1; got fold 2"),
        (
            {"cache": {"sha256": "a", "preparation": {"low_light": True}}},
            "with cache.preparation.low_light False; got cache.preparation.low_light True",
        ),
        (
            {"cache": {"sha256": "b", "preparation": {"low_light": False}}},
            "with cache.sha256 'a'; got cache.sha256 'b'",
        ),
    ],
)
def test_a_run_does_not_go_on_over_other_data(three_epochs, changed, message):
    with pytest.raises(RunFolderError, match=message):
        run_epochs(three_epochs.folder, 4, settings=SETTINGS | changed)


def test_a_second_start_in_the_same_folder_is_refused(tmp_path):
    held = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print(); input()"
    tmp_path.joinpath("run").mkdir()
    command = [sys.executable, "-S", "-c", held, str(tmp_path / "run" / "run.lock")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
    with pytest.raises(RunFolderError, match=r"Expected to be alone in .*, but another process trains there"):
        run_epochs(tmp_path / "run", 1)
    other.communicate(b"\n")
    assert run_epochs(tmp_path / "run", 1) == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_is_one_sentence_and_leaves_the_state_before(three_epochs, error, monkeypatch):
    def fail(*_):
        (three_epochs.states[0] / "model.safetensors").write_bytes(b"half")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Accelerator, "save_state", fail)
        with pytest.raises(DiskFullError, match=r"the disk is full\. What was finished before is whole"):
            run_epochs(three_epochs.folder, 4)
    assert run_epochs(three_epochs.folder, 4) == 4


def test_other_errors_are_not_taken_for_a_full_disk(three_epochs, monkeypatch):
    monkeypatch.setattr(Accelerator, "save_state", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        run_epochs(three_epochs.folder, 4)


def test_a_run_is_found_from_its_checkpoint_and_hub(three_epochs, tmp_path):
    for name in ("checkpoint", "hub"):
        (three_epochs.folder / name).mkdir()
        (three_epochs.folder / name / "run.json").write_text("{}", encoding="utf-8")
    three_epochs.clips_file.touch()
    for path in (three_epochs.folder, three_epochs.folder / "checkpoint", three_epochs.folder / "hub"):
        assert RunFolder.around(path).folder.resolve() == three_epochs.folder.resolve()
    assert RunFolder.around(tmp_path) is None
    assert RunFolder.around("dfer-aen-small") is None


def test_a_damaged_record_is_named(three_epochs):
    three_epochs.record_file.write_text(json.dumps({})[:1], encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"Expected JSON in .*run\.json, but it is damaged"):
        run_epochs(three_epochs.folder, 4)
