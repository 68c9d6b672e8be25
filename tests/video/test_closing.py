"""How reading ends before its time."""

import gc
import subprocess
import sys
import threading
from pathlib import Path

import av
import pytest

from dfer_hf.video import read_frames

from . import make_clips as clips

OPEN_FILES = Path("/proc/self/fd")
# In a process of its own: where threads wait for each other, nothing else runs there any more.
CLOSE_MIDWAY = """
import sys, threading
from pathlib import Path
import av
from dfer_hf.video import read_frames

av.logging.set_level(av.logging.ERROR)

def read_some():
    for round in range(60):
        frames = read_frames(Path(sys.argv[1]))
        for _ in range(1 + round % 4):
            next(frames)
        frames.close()

threads = [threading.Thread(target=read_some) for _ in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def _open_paths():
    links = [link for link in OPEN_FILES.iterdir() if link.is_symlink()]
    return {link.readlink() for link in links}


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files can be counted only under Linux")
def test_file_is_released_when_the_reader_stops_early(tmp_path):
    path = clips.write_clip(tmp_path / "clip.mp4")
    frames = read_frames(path)
    next(frames)
    assert path in _open_paths()
    frames.close()
    gc.collect()
    assert path not in _open_paths()


def test_container_is_closed_when_the_reader_stops_early(tmp_path, monkeypatch):
    containers = []
    real_open = av.open

    def remember(*arguments, **options):
        containers.append(real_open(*arguments, **options))
        return containers[-1]

    monkeypatch.setattr(av, "open", remember)
    for frame in read_frames(clips.write_clip(tmp_path / "clip.mp4")):
        if frame.index == 3:
            break
    del frame
    gc.collect()
    assert containers
    # A closed container has forgotten its streams.
    assert not any(len(container.streams) for container in containers)


def test_readers_of_bytes_are_closed_midway_in_any_thread(tmp_path):
    data = clips.encode_clip(tmp_path / "clip.mp4", "libx264", options={"x264-params": "tff=1"}).read_bytes()
    kept, numbers = [], []

    def read_some(count):
        for _ in range(5):
            frames = read_frames(data)
            numbers.append([clips.number_of(next(frames).rgb) for _ in range(count)])
            kept.append(frames)
            if count % 2:
                frames.close()

    threads = [threading.Thread(target=read_some, args=(count,)) for count in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The others are closed here, where they were not opened.
    for frames in kept:
        frames.close()
    assert all(shown == list(range(len(shown))) for shown in numbers)
    assert len(numbers) == 25


def test_readers_are_closed_midway_where_messages_of_ffmpeg_go_to_python(tmp_path):
    """As with the torchvision of torch 2.8, which sets the level for the whole process."""
    clip = clips.encode_clip(tmp_path / "clip.mp4", "libx264", options={"x264-params": "tff=1"})
    subprocess.run([sys.executable, "-c", CLOSE_MIDWAY, clip], check=True, timeout=60)
