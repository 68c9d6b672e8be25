"""A predictor of batches with the tiny checkpoint, and what reads the rows of a folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from dfer_hf.batch import BatchPredictor

ROOT = Path(__file__).resolve().parent.parent.parent
DFER = (sys.executable, "-c", "import dfer_start; dfer_start.run()")
NUM_CLIPS = 8


@pytest.fixture(scope="session")
def batch_predictor(tiny_checkpoint):
    return BatchPredictor(str(tiny_checkpoint), device="cpu")


@pytest.fixture(scope="session")
def rows_in():
    """Reads all rows of a folder as any reader of parquet does."""
    return lambda folder: parquet.read_table(folder).to_pylist()


@pytest.fixture(scope="session")
def many_clips(tmp_path_factory, write_clip, scene):
    """A folder of different clips and two broken files."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(NUM_CLIPS):
        write_clip(folder / f"{number}.webm", (scene(5 * number + index % 3) for index in range(16)))
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("No video.\n" * 99, encoding="utf-8")
    return folder


@pytest.fixture
def begin(tmp_path, tiny_checkpoint):
    """Starts `dfer batch` in an empty folder; whatever still runs in the end is killed."""
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [*DFER, "batch", *map(str, arguments), "--model", str(tiny_checkpoint), "--device", "cpu"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background may have Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
