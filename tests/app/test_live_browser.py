"""The Live tab in a browser: with a made-up camera, without one, and with one that is refused."""

import io
from contextlib import contextmanager

import pytest
from PIL import Image

from dfer_hf.video import read_frames

from .browsing import browsing
from .visits import files_in, serving

pytest.importorskip("gradio", reason="the app needs gradio")
from page.guards import example_clip

pytestmark = pytest.mark.slow
RATE = """() => {
    const said = document.querySelector(".dfer-live .rate").textContent;
    return said ? parseFloat(said) : 0;
}"""


@contextmanager
def visiting(address, flags):
    with browsing(*flags) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(address)
        page.get_by_role("tab", name="Live").click()
        yield page


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server") / "stored") as served:
        yield served


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """A film that the browser takes for what its camera sees: the example, whose face is seen in most frames."""
    file = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with file.open("wb") as film:
        for frame in list(read_frames(example_clip()))[:40]:
            written = io.BytesIO()
            Image.fromarray(frame.rgb).save(written, "JPEG", quality=90)
            film.write(written.getvalue())
    return file


def test_the_camera_is_answered_picture_by_picture_and_nothing_is_stored(server, camera, tmp_path):
    _, address, stored = server
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with visiting(address, [*flags, f"--use-file-for-fake-video-capture={camera}"]) as page:
        before = set(files_in(stored))
        page.get_by_role("button", name="Start the camera").click()
        page.locator(".dfer-live .bars [data-label=happiness]").wait_for()
        # The first pictures pay for what is loaded once.
        page.wait_for_timeout(4000)
        page.wait_for_function(f"({RATE})() > 0")
        page.screenshot(path=tmp_path / "live.png")
        assert page.locator(".dfer-live .answer").inner_text().split(",")[0] in ("happiness", "neutral")
        assert page.locator(".dfer-live .bars > div").count() == 7
        assert set(files_in(stored)) == before
        page.get_by_role("button", name="Stop", exact=True).click()
        assert page.locator(".dfer-live video").is_hidden()
        page.get_by_role("button", name="Start the camera").wait_for()


def test_a_camera_that_is_not_there_is_a_sentence(server):
    with visiting(server[1], ["--use-fake-ui-for-media-stream"]) as page:
        page.get_by_role("button", name="Start the camera").click()
        page.get_by_text("No camera was found. Connect one").wait_for()
        assert page.get_by_role("button", name="Start the camera").is_visible()


def test_a_camera_that_is_refused_is_a_sentence(server):
    with visiting(server[1], ["--use-fake-device-for-media-stream", "--deny-permission-prompts"]) as page:
        page.get_by_role("button", name="Start the camera").click()
        page.get_by_text("The camera was refused.").wait_for()
        assert page.get_by_role("button", name="Start the camera").is_visible()
