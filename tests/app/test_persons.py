"""The page, driven as a person would in a browser."""

import os
import shutil

import av
import pytest

from dfer_hf.taxonomy import SEVEN_EMOTIONS
from dfer_hf.video import read_frames

from .visits import SHIPPED, jobs_of, wait_until

pytest.importorskip("gradio", reason="the app needs gradio")
from page.guards import example_clip

CHROMIUM_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
)
PATIENCE = 120_000

EVERYTHING_STORED = """async () => ({
    local: {...localStorage},
    session: {...sessionStorage},
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    cookies: document.cookie,
})"""
NOTHING = {"local": {}, "session": {}, "databases": [], "caches": [], "cookies": ""}

COUNT_RECORDED_BYTES = """() => {
    window.recordedBytes = 0;
    const start = MediaRecorder.prototype.start;
    MediaRecorder.prototype.start = function (...given) {
        this.addEventListener("dataavailable", event => { window.recordedBytes += event.data.size; });
        return start.apply(this, given);
    };
}"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip(f"needs a browser on the path: one of {', '.join(names)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def browser_page(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("button", name="Analyse").wait_for()
    yield page
    page.close()


def choose(page, file):
    """Choose a file as a person does."""
    page.locator("#clip input[type=file]").set_input_files(file)


def width_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 850})
    page.wait_for_timeout(500)
    return page.evaluate("document.scrollingElement.scrollWidth")


@pytest.mark.slow
def test_a_person_gets_an_answer_in_the_browser_and_nothing_of_it_stays(address, browser_page, cache):
    asked, before = [], set(cache.iterdir())
    browser_page.on("request", lambda request: asked.append(request.url))
    assert browser_page.get_by_text("An expression is not an emotion").is_visible()
    assert browser_page.get_by_text("AI Act").is_visible()
    if os.environ.get("DFER_SCREENSHOT"):
        browser_page.get_by_label("Model").click()
        browser_page.get_by_role("option", name=SHIPPED).click()
    choose(browser_page, example_clip())
    browser_page.locator("#clip video").wait_for()
    browser_page.get_by_role("button", name="Analyse").click()
    browser_page.locator("#fine").get_by_text("%").first.wait_for(timeout=600_000)
    labels = SEVEN_EMOTIONS
    assert browser_page.locator("#fine h2").inner_text().strip() in [str(label) for label in labels]
    assert "140 frames" in browser_page.locator("#summary").inner_text()
    assert "Not seen" in browser_page.locator(".dfer-timeline .words").inner_text()
    overlay = browser_page.locator("video").nth(1)
    wait_until(lambda: overlay.evaluate("video => video.readyState") >= 2)
    assert overlay.evaluate("video => video.videoWidth") == 640
    browser_page.wait_for_timeout(1000)
    if os.environ.get("DFER_SCREENSHOT"):
        browser_page.screenshot(path=os.environ["DFER_SCREENSHOT"], full_page=True)
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    browser_page.get_by_text("Frame by frame, as a table").click()
    browser_page.get_by_text("group probability").first.wait_for()
    assert width_on_a_phone(browser_page) <= 390
    assert browser_page.evaluate(EVERYTHING_STORED) == NOTHING
    assert set(cache.iterdir()) - before
    browser_page.close()
    assert wait_until(lambda: set(cache.iterdir()) <= before, seconds=5)


def seconds_of(video):
    return video.evaluate("video => video.currentTime")


@pytest.mark.slow
def test_a_person_moves_the_video_by_its_timeline(browser_page, clips):
    choose(browser_page, clips / "face.webm")
    browser_page.locator("#clip video").wait_for()
    browser_page.get_by_role("button", name="Analyse").click()
    slider, video = browser_page.locator("#timeline [role=slider]"), browser_page.locator("#overlay .base")
    slider.wait_for()
    assert wait_until(lambda: video.evaluate("video => video.readyState") >= 2)
    for width in (1280, 390):
        browser_page.set_viewport_size({"width": width, "height": 900})
        browser_page.wait_for_timeout(500)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        at = [(box["x"] + share * box["width"], box["y"] + 40) for share in (0.25, 0.5, 0.75)]
        browser_page.mouse.click(*at[0])
        assert wait_until(lambda: abs(seconds_of(video) - 0.6) < 0.05)
        browser_page.mouse.move(*at[1])
        browser_page.mouse.down()
        browser_page.mouse.move(*at[2])
        browser_page.mouse.up()
        assert wait_until(lambda: abs(seconds_of(video) - 1.8) < 0.05)
        browser_page.keyboard.press("ArrowLeft")
        assert wait_until(lambda: abs(seconds_of(video) - 1.7) < 0.05)
        browser_page.keyboard.press("Home")
        browser_page.keyboard.press("PageUp")
        assert wait_until(lambda: abs(seconds_of(video) - 1.0) < 0.05)
        assert slider.get_attribute("aria-valuetext").startswith("1.0 s: ")
        assert not slider.get_attribute("aria-valuetext").endswith("face not seen")
    # And the other way round.
    video.evaluate("video => { video.currentTime = 0.6; }")
    playhead = browser_page.locator("#timeline .playhead")
    assert wait_until(lambda: playhead.evaluate("head => head.style.left") == "25%")
    assert slider.get_attribute("aria-valuenow") == "0.60"


@pytest.mark.slow
def test_a_person_compares_models(browser_page, clips):
    choose(browser_page, clips / "face.webm")
    video = browser_page.locator("#preview video")
    video.wait_for()
    browser_page.get_by_role("tab", name="Compare").click()
    browser_page.get_by_role("button", name="Compare").click()
    slider = browser_page.locator("#comparison [role=slider]")
    slider.wait_for()
    assert browser_page.locator("#comparison tbody tr").count() == 2
    assert "They agree on the expression for" in browser_page.locator("#comparison").inner_text()
    slider.focus()
    browser_page.keyboard.press("PageUp")
    assert wait_until(lambda: abs(seconds_of(video) - 1.0) < 0.05)
    assert f"; {SHIPPED}: " in slider.get_attribute("aria-valuetext")
    assert width_on_a_phone(browser_page) <= 390
    assert browser_page.locator(".dfer-compare .lane").first.bounding_box()["width"] > 250
    # Another clip leaves nothing of it.
    browser_page.get_by_role("button", name="portrait").click()
    assert wait_until(lambda: browser_page.locator("#comparison [role=slider]").count() == 0)


@pytest.mark.slow
def test_a_person_can_choose_an_image_and_sees_it(browser_page, scene, tmp_path):
    from PIL import Image

    image = Image.fromarray(scene(20))
    for suffix in ("png", "jpg", "webp", "gif", "avif"):
        path = tmp_path / f"face.{suffix}"
        image.save(path, **({"save_all": True, "append_images": [image] * 3} if suffix == "gif" else {}))
        choose(browser_page, path)
        shown = browser_page.locator(f"#clip img[src$='face.{suffix}']")
        shown.wait_for()
        assert wait_until(lambda shown=shown: shown.evaluate("image => image.naturalWidth") == 160)
        if suffix == "gif":
            browser_page.get_by_role("button", name="Analyse").click()
            browser_page.locator("#fine").get_by_text("%").first.wait_for()
        browser_page.get_by_label("Remove this file").or_(browser_page.get_by_label("Clear")).first.click()
        browser_page.locator("#clip input[type=file]").wait_for(state="attached")


def test_a_bad_file_is_refused_when_it_is_chosen(browser_page, bad_files, cache, clips):
    choose(browser_page, bad_files / "text.mp4")
    alert = browser_page.get_by_role("alert")
    alert.wait_for()
    assert "text.mp4" in alert.inner_text()
    assert browser_page.locator("#clip input[type=file]").count() == 1
    assert wait_until(lambda: not list(cache.rglob("text.mp4")))
    # A good one takes its place.
    choose(browser_page, clips / "short.webm")
    browser_page.locator("#clip video").wait_for()
    assert alert.count() == 0


def test_a_file_that_no_browser_plays_is_said_to_be_fine(browser_page, clips, tmp_path):
    video = tmp_path / "clip.avi"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        for frame in read_frames(clips / "face.webm"):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")))
        container.mux(stream.encode(None))
    choose(browser_page, video)
    browser_page.get_by_text("It can be analysed all the same").wait_for()


def test_a_person_can_cancel(browser_page, workers, recording):
    choose(browser_page, recording)
    browser_page.locator("#clip video").wait_for()
    browser_page.get_by_role("button", name="Analyse").click()
    assert wait_until(lambda: jobs_of(workers))
    browser_page.wait_for_timeout(500)
    browser_page.get_by_role("button", name="Cancel").click()
    assert wait_until(lambda: not jobs_of(workers), seconds=2)


@pytest.mark.slow
def test_a_person_can_record_a_clip(browser_page):
    browser_page.get_by_role("tab", name="Record").click()
    browser_page.get_by_text("Click to Access Webcam").click()
    browser_page.evaluate(COUNT_RECORDED_BYTES)
    browser_page.get_by_title("start recording").click()
    # A busy machine records nothing for a while.
    browser_page.wait_for_function("window.recordedBytes > 20_000")
    browser_page.get_by_title("stop recording").click()
    browser_page.locator("#preview video").wait_for()
    assert browser_page.get_by_role("tab", name="Upload").get_attribute("aria-selected") == "true"
