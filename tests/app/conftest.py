"""The page with a tiny and a shipped checkpoint, as visitors reach it, and files to bring along."""

import shutil
import wave

import numpy as np
import pytest

import dfer_hf
from dfer_hf.analysis import AnalysisWorkers
from dfer_hf.video import write_video

from ..hostile_files import write_recording
from .visits import LIMITS, SHIPPED, serving


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="package")
def workers(tiny_checkpoint):
    shipped = dfer_hf.shipped_checkpoints()
    if SHIPPED not in shipped:
        pytest.skip(f"{SHIPPED} is not part of this installation")
    workers = AnalysisWorkers({"tiny": tiny_checkpoint, SHIPPED: shipped[SHIPPED]}, limits=LIMITS)
    workers.start()
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def address(workers, cache):
    import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        patch.setenv("GRADIO_HEARTBEAT_INTERVAL", "1")
        patch.setattr("dfer_hf.open_pages.DELETE_EVERY", 0.5)
        # As if the hosts that Gradio trusts were this one: nothing else keeps it from fetching.
        patch.setattr("gradio.processing_utils.PUBLIC_HOSTNAME_WHITELIST", ["127.0.0.1"])
        demo = app.build_demo(workers)
        _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **app.launch_options(workers))
        yield address
        demo.close()


@pytest.fixture
def client(address, tmp_path):
    from gradio_client import Client

    client = Client(address, verbose=False, download_files=str(tmp_path))
    yield client
    client.close()


@pytest.fixture(scope="module")
def bad_files(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    shutil.copy(clips / "text.mp4", folder)
    shutil.copy(clips / "faceless.webm", folder)
    shutil.copy(clips / "empty.mp4", folder)
    whole = (clips / "face.webm").read_bytes()
    (folder / "broken.webm").write_bytes(whole[:40] + bytes(2000))
    frames = [np.full((48, 64, 3), 90, dtype=np.uint8)] * 100
    write_video(folder / "long.webm", frames, frames_per_second=0.5)
    return folder


@pytest.fixture
def recording(scene, tmp_path):
    """Seven seconds from a webcam."""
    return write_recording(tmp_path / "recording.webm", (scene(index % 40) for index in range(175)))


@pytest.fixture
def server(tmp_path):
    """The app as people start it: its process, its address and where it stores what it is given."""
    with serving(tmp_path / "stored") as served:
        yield served
