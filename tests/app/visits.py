"""How tests visit the page: as a program, as many at once, and what they look at meanwhile."""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from dfer_hf.checkpoints import DEFAULT_CHECKPOINT
from dfer_hf.video import VideoLimits

APP = Path(__file__).parents[2] / "app.py"
SHIPPED = DEFAULT_CHECKPOINT
LIMITS = VideoLimits(max_bytes=1_500_000, max_seconds=120.0)


def files_in(folder):
    return [Path(place) / name for place, _, names in os.walk(folder) for name in names]


def ignore_progress(*_, **__):
    pass


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    # Not asked again once it held: what it waits for may be over in a moment.
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def named(path):
    return {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}


def call(address, data):
    """Ask for an answer with plain HTTP; return the events that come back."""
    event = httpx.post(f"{address}gradio_api/call/analyse", json={"data": data}).json()["event_id"]
    return httpx.get(f"{address}gradio_api/call/analyse/{event}", timeout=30).text


def jobs_of(workers):
    """Processes that analyse something at the moment."""
    pid = workers._runner._nursery.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


def visit(address, file, downloads, model):
    """Come, ask for an answer, and go; return what was said and how long it took."""
    from gradio_client import Client

    started = time.monotonic()
    try:
        visitor = Client(address, verbose=False, download_files=str(downloads))
        try:
            _, said, *_ = visitor.predict(file, model, False, api_name="/analyse")
        finally:
            visitor.close()
    except (ValueError, httpx.HTTPStatusError) as refused:
        said = str(refused)
    return said, time.monotonic() - started


def let_all_come_at_once(address, files, expected, downloads, *, model):
    """Let the first come alone, and then everybody; those who get an answer may have to share the machine, no more."""
    _, alone = visit(address, files[0], downloads, model)
    with ThreadPoolExecutor(len(files)) as pool:
        said = list(pool.map(lambda file: visit(address, file, downloads, model), files))
    for (answer, took), wanted in zip(said, expected, strict=True):
        assert wanted in answer
        if wanted == "frames":
            assert took < len(files) * (alone + 1)


@contextmanager
def serving(stored, command=(), **environment):
    """The app as people start it: its process, its address and where it stores what it is given."""
    stored.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = os.environ | {"GRADIO_TEMP_DIR": str(stored), "GRADIO_ANALYTICS_ENABLED": "False"} | environment
    command = [*(command or [sys.executable, str(APP)]), "--port", str(port)]
    with subprocess.Popen(command, env=variables, start_new_session=True) as process:
        address = f"http://127.0.0.1:{port}/"
        try:
            assert wait_until(lambda: process.poll() is not None or answers(address), seconds=300)
            yield process, address, stored
        finally:
            process.kill()


def answers(address):
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False
