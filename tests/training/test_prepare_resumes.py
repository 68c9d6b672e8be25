import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from training import prepare
from training.cache import crop_workers
from training.cache.face_clips import FaceCropper
from training.cache.prepared import PreparedClips

from .marked_faces import BERT, DyingDetector, clip_of, content, folder_clips, picture, run, write_folder


@pytest.fixture(scope="module")
def ten_clips(tmp_path_factory):
    """Ten clips of which the fourth has no face and the seventh no frames."""
    root = tmp_path_factory.mktemp("ten")
    clips = folder_clips(root, 10)
    clips[3] = clip_of(write_folder(root / "faceless", [picture()] * 3))
    clips[6] = clip_of(root / "absent")
    return clips


@pytest.fixture(scope="module")
def uninterrupted(ten_clips, tmp_path_factory):
    """The cache of the ten clips in shards of two or three, written in one go."""
    cache = tmp_path_factory.mktemp("uninterrupted")
    run(ten_clips, cache, shard_bytes=600_000)
    return cache


def test_two_processes_give_the_bytes_of_one(tmp_path, ten_clips, uninterrupted):
    run(ten_clips, tmp_path / "two", num_processes=2, shard_bytes=600_000)
    assert content(tmp_path / "two") == content(uninterrupted)
    assert len(content(uninterrupted)) > 4  # several shards


def test_a_process_that_dies_is_named_and_the_run_goes_on_from_there(tmp_path):
    clips = folder_clips(tmp_path, 2)
    clips.append(clip_of(write_folder(tmp_path / "deadly", [picture(1, (BERT, 10, 8, 40))] * 2)))
    with pytest.raises(crop_workers.WorkerDiedError, match="deadly"):
        run(clips, tmp_path / "cache", FaceCropper(detector=DyingDetector()), num_processes=2)
    report = run(clips, tmp_path / "cache")
    assert report.num_prepared == 3
    assert not list((tmp_path / "cache").glob("unfinished-*"))


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_failed_anywhere_goes_on_to_the_same_bytes(tmp_path, monkeypatch, ten_clips, uninterrupted, seed):
    chance = random.Random(seed)
    whole_write, calls = prepare.CacheWriter._add_member, iter(range(1000))
    fatal = chance.randrange(14)

    def write_and_die(writer, name, stream, size):
        if next(calls) == fatal:
            writer._shard.write(stream.read(chance.randrange(size)))  # half a member
            writer._shard.flush()
            # Half a row as well, which cannot happen but would be worse.
            writer._index.write("set one/cl")
            writer._index.flush()
            raise KeyboardInterrupt
        return whole_write(writer, name, stream, size)

    with monkeypatch.context() as planted:
        planted.setattr(prepare.CacheWriter, "_add_member", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            run(ten_clips, tmp_path / "cache", shard_bytes=600_000)
    run(ten_clips, tmp_path / "cache", shard_bytes=600_000)
    assert content(tmp_path / "cache") == content(uninterrupted)


KILLED = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from training.prepare import prepare
from training.cache.face_clips import FaceCropper
from tests.training.marked_faces import MarkedFaceDetector, clip_of
if __name__ == "__main__":
    folders = sorted(Path({clips!r}).iterdir())
    prepare(
        [clip_of(folder) for folder in folders], Path({cache!r}), corpus="made_up", num_processes={processes},
        cropper=FaceCropper(detector=MarkedFaceDetector(seconds=0.05)), shard_bytes=600_000,
    )
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, processes):
    folder_clips(tmp_path / "clips", 24)
    clips = [clip_of(folder) for folder in sorted((tmp_path / "clips").iterdir())]
    run(clips, tmp_path / "whole", shard_bytes=600_000)
    cache, script = tmp_path / "cache", tmp_path / "killed.py"
    root = str(Path(__file__).resolve().parents[2])
    script.write_text(
        KILLED.format(root=root, clips=str(tmp_path / "clips"), cache=str(cache), processes=processes),
        encoding="utf-8",
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE)
    index = cache / "index.csv"
    give_up = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < give_up:
        if index.is_file() and index.read_bytes().count(b"\n") > 4:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    # It ends when its workers have ended too.
    errors = process.stderr.read().decode()
    assert process.wait() == -signal.SIGKILL, errors
    assert list(cache.glob("unfinished-*"))
    run(clips, cache, shard_bytes=600_000)
    assert content(cache) == content(tmp_path / "whole")


def test_a_finished_cache_is_left_as_it_is_and_can_grow(tmp_path, ten_clips, uninterrupted):
    cache = tmp_path / "cache"
    run(ten_clips[:5], cache, shard_bytes=600_000)
    before = content(cache)
    report = run(ten_clips[:5], cache, shard_bytes=600_000)
    assert content(cache) == before
    assert (report.num_prepared, report.num_new) == (4, 0)
    run(ten_clips, cache, shard_bytes=600_000)
    assert content(cache) == content(uninterrupted)


def test_a_lost_shard_is_prepared_again(tmp_path, ten_clips, uninterrupted):
    cache = shutil.copytree(uninterrupted, tmp_path / "cache")
    (cache / "shard-00001.tar").unlink()
    run(ten_clips, cache, shard_bytes=600_000)
    ours, whole = PreparedClips(cache), PreparedClips(uninterrupted)
    assert sorted(ours.names) == sorted(whole.names)
    for name in whole.names:
        frames = range(whole.num_frames(name))
        np.testing.assert_array_equal(ours.read(name, frames), whole.read(name, frames))
