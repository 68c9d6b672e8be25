"""`dfer batch` as people run it: what dies on the way, and what a second run finds."""

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import dfer_cli
import dfer_hf
from dfer_hf.output_files import UsageError

from .conftest import NUM_CLIPS

slow = pytest.mark.slow
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")


def finish(process):
    printed, errors = process.communicate(timeout=600)
    assert "Traceback" not in errors
    return process.returncode, printed, errors


def workers_of(pid):
    """Process ids of the workers of a command."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, line in lines.items() if b"spawn_main" in line]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(holds):
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def parts_in(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}


def assert_each_file_once(rows, folder):
    assert Counter(row["path"] for row in rows) == Counter(str(path) for path in folder.iterdir())
    errors = {Path(row["path"]).name: row["error_name"] for row in rows if row["error"]}
    assert errors == {"empty.mp4": "EmptyVideoError", "text.mp4": "NotAVideoError"}
    assert all((row["fine"] is None) == bool(row["error"]) for row in rows)


@slow
@on_linux
def test_a_killed_worker_loses_and_doubles_nothing(begin, many_clips, tmp_path, rows_in):
    process = begin(many_clips, "--output", "out", "--workers", 2)
    wait_until(lambda: parts_in(tmp_path / "out"))
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    code, printed, errors = finish(process)
    assert code == 1
    assert_each_file_once(rows_in(tmp_path / "out"), many_clips)
    assert f"{NUM_CLIPS} files answered, 2 with an error, {NUM_CLIPS + 2} rows" in printed
    assert "empty.mp4: " in errors
    # What is there is not done again.
    before = parts_in(tmp_path / "out")
    code, printed, _ = finish(begin(many_clips, "--output", "out"))
    assert code == 1
    assert f"{NUM_CLIPS + 2} files were there from an earlier run" in printed
    assert parts_in(tmp_path / "out") == before


@slow
@on_linux
@pytest.mark.parametrize(("end", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["killed", "Ctrl-C"])
def test_a_run_that_is_ended_goes_on_where_it_was(begin, many_clips, tmp_path, rows_in, end, code):
    process = begin(many_clips, "--output", "out", "--workers", 2)
    wait_until(lambda: len(parts_in(tmp_path / "out")) >= 3)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.send_signal(end)
    assert process.wait(timeout=60) == code
    # They finish their file, hear that nobody is there, and go.
    wait_until(lambda: not any(map(is_running, workers)))
    before = parts_in(tmp_path / "out")
    assert len(before) < NUM_CLIPS + 2
    assert finish(begin(many_clips, "--output", "out", "--workers", 1))[0] == 1
    assert before.items() <= parts_in(tmp_path / "out").items()
    assert_each_file_once(rows_in(tmp_path / "out"), many_clips)


@slow
def test_a_list_names_files_whether_they_are_there_or_not(begin, many_clips, tmp_path, rows_in):
    (tmp_path / "list.txt").write_text(f"{many_clips / '0.webm'}\nmissing.mp4\n", encoding="utf-8")
    code, printed, errors = finish(begin("list.txt", "--output", "out"))
    assert code == 1
    assert "missing.mp4: " in errors
    assert "1 files answered, 1 with an error" in printed
    rows = sorted(rows_in(tmp_path / "out"), key=lambda row: row["error"] or "")
    assert [row["path"] for row in rows] == [str(many_clips / "0.webm"), str(tmp_path / "missing.mp4")]


@pytest.fixture
def type_in(capfd):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            dfer_cli.main([str(argument) for argument in ("batch", *arguments)])
        assert stop.value.code == 2
        return capfd.readouterr().err

    return run


def test_a_folder_of_something_else_is_refused(type_in, clips, tmp_path, tiny_checkpoint):
    (tmp_path / "notes.md").touch()
    said = type_in(clips, "--output", tmp_path, "--model", tiny_checkpoint)
    assert "Expected a new folder, or one of an earlier `dfer batch`" in said


def test_a_folder_of_another_model_is_refused(type_in, clips, tmp_path, tiny_checkpoint):
    (tmp_path / "_batch.json").write_text('{"model": "tiny", "weights": "0"}', encoding="utf-8")
    said = type_in(clips, "--output", tmp_path, "--model", tiny_checkpoint)
    assert "were made with another weights or configuration and settings and labels and groups" in said


def test_a_folder_of_the_same_weights_with_other_rules_is_refused(tmp_path, tiny_checkpoint):
    from dfer_hf.batch.batch_command import _claim

    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    rules = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    for changed in ({}, {"transformers_version": "4.0.0", "dtype": "float32"}):
        (checkpoint / "config.json").write_text(json.dumps(rules | changed), encoding="utf-8")
        _claim(tmp_path / "rows", dfer_hf.VideoPredictor.from_pretrained(checkpoint, device="cpu"))
    (checkpoint / "config.json").write_text(json.dumps(rules | {"set_threshold": 0.2}), encoding="utf-8")
    with pytest.raises(UsageError, match="were made with another weights"):
        _claim(tmp_path / "rows", dfer_hf.VideoPredictor.from_pretrained(checkpoint, device="cpu"))


@pytest.mark.parametrize(("library", "extra"), [("pyarrow", "parquet"), ("ray", "ray")])
def test_a_missing_library_is_named(type_in, clips, tmp_path, monkeypatch, library, extra):
    from dfer_hf.batch import batch_command

    monkeypatch.setattr(batch_command, "find_spec", lambda name: None if name == library else object())
    said = type_in(clips, "--output", tmp_path, "--on", "ray")
    assert f"run `pip install dfer-hf[{extra}]`" in said


def test_an_empty_list_and_no_worker_are_refused(type_in, clips, tmp_path):
    (tmp_path / "list.txt").write_text("\n \n", encoding="utf-8")
    assert "Expected a file on each line" in type_in(tmp_path / "list.txt", "--output", tmp_path / "out")
    assert "expected a number from 1 on, got '0'" in type_in(clips, "--output", tmp_path / "out", "--workers", 0)
