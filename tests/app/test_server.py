"""The app as people start it, in a process of its own."""

import signal
import sys
from contextlib import suppress
from pathlib import Path

import cv2
import pytest

from ..hostile_files import write_gif, write_recording
from .visits import files_in, let_all_come_at_once, named, visit, wait_until

pytest.importorskip("gradio", reason="the app needs gradio")
from gradio_client import Client, handle_file

from page.guards import example_clip


def memory_of(process):
    resident, shared = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1:3]
    return int(resident) - int(shared)


def processes_of(process):
    """Processes that a process has started, and those that they have."""
    found, parents = set(), [str(process.pid)]
    while parents:
        # Threads and processes may end while they are looked at.
        for children in Path("/proc").glob(f"{parents.pop()}/task/*/children"):
            with suppress(OSError):
                started = set(children.read_text(encoding="ascii").split())
                found |= started
                parents += started
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_twelve_visitors_at_once_half_of_them_hostile(server, clips, scene, tmp_path):
    process, address, stored = server
    small = cv2.resize(scene(20), (64, 48))
    (tmp_path / "huge.mp4").write_bytes(bytes(101_000_000))
    hostile = {
        write_gif(tmp_path / "bomb.gif", side=4000, num_frames=3000): "billion pixels",
        write_recording(tmp_path / "endless.webm", (small for _ in range(25 * 200))): "120 seconds",
        tmp_path / "huge.mp4": "maximum file size",
        clips / "text.mp4": "text.mp4",
        clips / "empty.mp4": "empty",
    }
    files = [handle_file(path) for path in [clips / "face.webm", clips / "pair.webm"] * 3 + list(hostile)]
    files.append(named("http://127.0.0.1:9/clip.mp4"))
    expected = ["frames"] * 6 + [*hostile.values(), "addresses and paths are not followed"]
    visit(address, files[0], tmp_path, "dfer-frame-resnet-small")
    before = memory_of(process)
    let_all_come_at_once(address, files, expected, tmp_path, model="dfer-frame-resnet-small")
    assert wait_until(lambda: not files_in(stored), seconds=5)
    assert memory_of(process) < 1.1 * before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_sigterm_ends_everything_and_leaves_nothing(server, tmp_path):
    process, address, stored = server
    visitor = Client(address, verbose=False, download_files=str(tmp_path))
    visitor.submit(handle_file(example_clip()), "dfer-frame-resnet-small", True, api_name="/analyse")
    # The one that forks, and its fork.
    assert wait_until(lambda: len(processes_of(process)) == 2)
    started = processes_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0
    assert wait_until(lambda: not any((Path("/proc") / pid).exists() for pid in started), seconds=5)
    assert list(stored.iterdir()) == []
