"""A Space in environments of its own, with the oldest and the newest of what a Space of the Hub may run."""

import os
import re
import shutil
import subprocess
import sys

import httpx
import pytest
from huggingface_hub import SpaceCard

import dfer_hf

from ..app.browsing import browsing
from ..app.visits import serving
from ..conftest import DFER, ROOT

pytest.importorskip("gradio_client", reason="the Space is asked by its client")
from gradio_client import Client, handle_file

pytestmark = pytest.mark.slow
ENVIRONMENTS = [("3.10", "torch==2.8.*"), ("3.12", "torch")]
UNREACHABLE = re.compile(r"from versions: none|onnection|timed out|No space left")


def python_of(version):
    """An interpreter of a version; skips the test where none can make environments."""
    is_this = sys.version_info[:2] == tuple(map(int, version.split(".")))
    found = sys.executable if is_this else shutil.which(f"python{version}")
    makes_environments = [found, "-c", "import ensurepip, venv"]
    if not found or subprocess.run(makes_environments, check=False, capture_output=True).returncode:
        pytest.skip(f"there is no Python {version} with venv on the path")
    return found


def install(python, place, wanted):
    """Make an environment; skips the test where there is no index to install from."""
    subprocess.run([python, "-m", "venv", place], check=True)
    # Whatever the tests run with is no part of a Space.
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [place / "bin" / "python", "-m", "pip", "install", "-q", *wanted]
    done = subprocess.run(command, env=outside, check=False, capture_output=True, text=True)
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"{wanted} cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=ENVIRONMENTS, ids=" ".join)
def address(request, tmp_path_factory):
    version, torch = request.param
    python, folder = python_of(version), tmp_path_factory.mktemp("hub")
    space, place = folder / "space", folder / "environment"
    subprocess.run([*DFER, "space", space, "--hardware", "cpu"], cwd=ROOT, check=True, capture_output=True)
    gradio = SpaceCard((space / "README.md").read_text(encoding="utf-8")).data.sdk_version
    try:
        # The Hub adds Gradio, with these extras, and `spaces` on any hardware.
        install(python, place, ["-r", space / "requirements.txt", torch, f"gradio[oauth,mcp]=={gradio}", "spaces"])
        command = [str(place / "bin" / "python"), str(space / "app.py")]
        with serving(folder / "stored", command, PYTHONPATH="", HF_HUB_OFFLINE="1") as (_, address, _):
            yield address
    finally:
        # Some gigabytes.
        shutil.rmtree(place, ignore_errors=True)


def test_a_space_answers_a_program(address, tmp_path):
    assert httpx.get(f"{address}health").json()["version"] == dfer_hf.__version__
    client = Client(address, verbose=False, download_files=str(tmp_path))
    clip = handle_file(ROOT / "examples" / "rendered_happiness.webm")
    _, note, fine, *_ = client.predict(clip, "dfer-aen-small", True, api_name="/analyse")
    client.close()
    assert "36 frames" in note
    assert fine["label"] == "happiness"


def test_a_space_answers_a_visitor(address):
    with browsing() as browser:
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="happiness").first.click(timeout=60_000)
        page.locator("#preview video").wait_for()
        page.get_by_role("button", name="Analyse", exact=True).click()
        page.locator("#strip img").first.wait_for(timeout=240_000)
        assert page.locator("#fine h2").inner_text().strip() == "happiness"
