"""A batch on a Ray cluster of this machine, with two workers of which one is killed, and inside Ray Data."""

import os
import signal
from pathlib import Path

import pytest

from dfer_hf.batch import BatchPredictor

from .conftest import NUM_CLIPS
from .test_batch_command import assert_each_file_once, finish, parts_in, wait_until

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.slow


def descendants(pid):
    """Process ids and command lines of all that a process started, at any depth."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text(encoding="ascii").split()):
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes()
            found |= descendants(child)
    return found


def actors_of(pid):
    """Workers that work on a file."""
    try:
        return [child for child, line in descendants(pid).items() if line.startswith(b"ray::") and b"answer" in line]
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_a_killed_actor_loses_and_doubles_nothing(begin, many_clips, tmp_path, rows_in):
    process = begin(many_clips, "--output", "out", "--on", "ray", "--workers", 2)
    wait_until(lambda: parts_in(tmp_path / "out") and actors_of(process.pid))
    os.kill(actors_of(process.pid)[0], signal.SIGKILL)
    code, printed, _ = finish(process)
    assert code == 1
    assert_each_file_once(rows_in(tmp_path / "out"), many_clips)
    assert f"{NUM_CLIPS} files answered, 2 with an error, {NUM_CLIPS + 2} rows" in printed


def test_ray_data_maps_batches_with_it(many_clips, tiny_checkpoint, batch_predictor):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        paths = sorted(many_clips.iterdir())
        data = ray.data.from_items([{"path": str(path)} for path in paths]).map_batches(
            BatchPredictor,
            fn_constructor_args=(str(tiny_checkpoint),),
            fn_constructor_kwargs={"device": "cpu"},
            concurrency=2,
            batch_size=2,
        )
        rows = data.take_all()
    finally:
        ray.shutdown()
    assert_each_file_once(rows, many_clips)
    expected = {row["path"]: row["fine"] for row in batch_predictor(paths)}
    assert {row["path"]: row["fine"] for row in rows} == expected
