"""A predictor of batches with the tiny checkpoint, and what reads the rows of a folder."""

import pytest
from pyarrow import parquet

from dfer_hf.batch import BatchPredictor

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
def begin(start, tiny_checkpoint):
    """Starts `dfer batch` in an empty folder; whatever still runs in the end is killed."""
    return lambda *arguments: start("batch", *arguments, "--model", tiny_checkpoint, "--device", "cpu")
