"""The commands as people type them: in processes of their own, whose streams close and who are interrupted."""

import argparse
import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

import dfer_cli
import dfer_hf
import training.cli
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT
from dfer_hf.video import read_frames

from .conftest import DFER, ROOT, command_environment
from .docs.pages import PAGES, blocks_of, commands_of

TYPED = shlex.join(DFER)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a shell and signals as POSIX has them")


def printed_by(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        dfer_cli.main(arguments)
    return printed.getvalue()


BLOCKS = [block for page in PAGES for block in blocks_of(page) if block.language in ("", "bash")]
# A command that stands on several pages is typed once.
COMMANDS = list(dict.fromkeys(command for block in BLOCKS for command in commands_of(block.text)))
EXAMPLES = commands_of(printed_by("predict", "--help"))


class UnderstoodError(Exception):
    """A command line was understood."""


def type_in(program, *arguments):
    if program == "dfer":
        dfer_cli.main(arguments)
    elif program == "dfer-train":
        training.cli.main(arguments)
    elif arguments[0].endswith(".py"):
        sys.argv = list(arguments)
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    else:
        # `python -m training.train …` and `accelerate launch --mixed_precision bf16 -m training.train …`.
        start = arguments.index("-m") + 1
        sys.argv = list(arguments[start:])
        runpy.run_module(arguments[start], run_name="__main__")


@pytest.mark.parametrize("command", [*COMMANDS, *EXAMPLES])
def test_a_command_that_people_are_told_to_type_is_understood(command, monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *arguments):
        parse(self, *arguments)
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(UnderstoodError):
        type_in(*shlex.split(re.sub("<.*?>", "placeholder", command), comments=True))


def test_readme_manual_and_help_tell_what_to_type():
    assert any(command.startswith("dfer export") for command in COMMANDS)
    assert any(command.startswith("dfer-train") for command in COMMANDS)
    assert any("--overlay" in command for command in EXAMPLES)


@pytest.fixture
def shell(tmp_path, tiny_checkpoint):
    """Runs a line in an empty folder, in which `dfer` is the command and `$TINY` the options of a small model."""

    def run(line):
        return subprocess.run(
            ["bash", "-c", line.replace("dfer ", f"{TYPED} ", 1)],
            cwd=tmp_path,
            env=command_environment(tiny_checkpoint),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture
def long_clip(tmp_path_factory, write_clip, scene):
    """A clip that takes long to analyse."""
    return write_clip(tmp_path_factory.mktemp("long") / "long.webm", (scene(index % 40) for index in range(300)))


def interrupt(process):
    """Press Ctrl-C; returns what the process printed as error."""
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors
    assert time.monotonic() - before < 10
    return errors


def test_the_process_prints_all_and_leaves_with_the_code(shell):
    done = shell("dfer models")
    assert done.returncode == 0
    assert DEFAULT_CHECKPOINT in done.stdout


def test_streams_that_are_closed_are_done_without(shell, clips, tmp_path):
    done = shell(f"dfer predict {clips}/text.mp4 {clips}/short.webm $TINY --json out.json <&- >&- 2>&-")
    assert done.returncode == 1
    bad, good = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (bad["source"], good["source"]) == ("text.mp4", "short.webm")


def test_a_reader_that_has_had_enough_ends_the_run_without_a_word(shell, clips):
    done = shell(f"dfer predict {clips}/still.png {clips}/face.webm $TINY | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("module", ["dfer_cli", "argparse", "pathlib", "dfer_hf", "torch"])
def test_ctrl_c_is_heard_from_the_first_import_on(module):
    press_at = f"""
import os, signal, sys
class Press:
    def find_spec(self, name, *unused):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
for name in ("argparse", "pathlib"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Press())
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
    command = [sys.executable, "-c", press_at + DFER[-1], "models"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_ctrl_c_while_libraries_load_ends_it_at_once(start, clips, seconds):
    process = start("predict", clips / "still.png", "--json", "out.json")
    time.sleep(seconds)
    assert interrupt(process) == "interrupted\n"


def test_ctrl_c_leaves_what_was_answered_and_nothing_else(start, clips, long_clip, tiny_checkpoint, tmp_path):
    outputs = ("--json", "out.json", "--csv", "out.csv", "--model", tiny_checkpoint)
    process = start("predict", clips / "short.webm", long_clip, *outputs)
    assert process.stdout.readline().startswith("short.webm: ")
    time.sleep(0.5)
    errors = interrupt(process)
    assert "out.partial.json" in errors
    assert "out.partial.csv" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.partial.csv", "out.partial.json"]
    (answer,) = json.loads((tmp_path / "out.partial.json").read_text(encoding="utf-8"))
    assert answer["source"] == "short.webm"


@pytest.mark.slow
def test_ctrl_c_while_an_overlay_is_drawn_leaves_none(start, long_clip, tiny_checkpoint, tmp_path):
    process = start("predict", long_clip, "--overlay", "seen.webm", "--model", tiny_checkpoint)
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.02)
    interrupt(process)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "printed"),
    [
        ("dfer --help", 0, "predict"),
        ("dfer --version", 0, dfer_hf.__version__),
        ("dfer --help | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("dfer models --measure resnet_rnn:tiny", 0, "resnet_rnn:tiny"),
        ("dfer models > /dev/full", 2, ""),
        ("dfer export aen:tiny mine && ls mine", 0, "modeling_aen.py"),
        ("dfer predict clips/short.webm --json -", 0, DEFAULT_CHECKPOINT),
        ("dfer predict clips --csv -", 1, "text.mp4"),
        ("dfer predict clips/short.webm $TINY > /dev/full", 2, ""),
        ("dfer predict clips/short.webm $TINY --json - | true; exit ${PIPESTATUS[0]}", 1, ""),
        ("dfer predict clips $TINY --csv out.csv | true; tail -1 out.csv", 0, "truncated.webm"),
        ("LC_ALL=C PYTHONIOENCODING=ascii dfer predict $'caf\\xe9.mp4' caf\u00e9.mp4 $TINY --json -", 0, "\\u00e9"),
        ("dfer predict clips/text.mp4 $TINY 2>/dev/full", 1, ""),
        ("dfer predict clips/short.webm $TINY --json - >&-", 2, ""),
    ],
)
def test_a_command_does_what_it_says(shell, clips, tmp_path, line, code, printed):
    shutil.copytree(clips, tmp_path / "clips")
    shutil.copy(clips / "still.png", tmp_path / "caf\u00e9.mp4")
    shutil.copy(clips / "still.png", tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    done = shell(line)
    assert done.returncode == code, done.stderr
    assert printed in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_the_help_says_can_be_typed_on_the_clips_of_a_folder(shell, clips, tmp_path):
    (tmp_path / "clips").mkdir()
    shutil.copy(clips / "short.webm", tmp_path / "clip.mp4")
    shutil.copy(clips / "short.webm", tmp_path / "clips")
    for command in EXAMPLES:
        done = shell(command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(("clip.mp4: ", "short.webm: "))
    assert len(list(read_frames(tmp_path / "seen.webm"))) == 5


@pytest.mark.slow
def test_training_has_a_command_of_its_own():
    code = "import dfer_cli; dfer_cli.run_training()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "prepare" in done.stdout
