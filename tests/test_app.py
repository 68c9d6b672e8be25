"""The page, driven as a program and as a person would."""

import csv
import json
import os
import shutil
import time
import wave
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

gradio = pytest.importorskip("gradio", reason="the app needs gradio")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

import app  # noqa: E402
import dfer_hf  # noqa: E402
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT  # noqa: E402
from dfer_hf.video import VideoLimits, read_frames, write_video  # noqa: E402

SHIPPED = DEFAULT_CHECKPOINT
LIMITS = VideoLimits(max_bytes=1_500_000, max_seconds=8.0)
CHROMIUM_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def address(predictor, cache):
    if SHIPPED not in dfer_hf.shipped_checkpoints():
        pytest.skip(f"{SHIPPED} is not part of this installation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        shipped = dfer_hf.VideoPredictor.from_pretrained(SHIPPED, device="cpu")
        demo = app.build_demo({SHIPPED: shipped, "tiny": predictor}, limits=LIMITS)
        _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **app.launch_options(LIMITS))
        yield address
        demo.close()


@pytest.fixture
def client(address, tmp_path):
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
    write_video(folder / "long.webm", frames, frames_per_second=10.0)
    return folder


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def ignore_progress(*_, **__):
    pass


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


def test_a_program_gets_the_whole_answer_for_the_example_clip(client):
    overlay, note, fine, coarse, timeline, table, json_file, csv_file = client.predict(
        handle_file(app.example_clip()), SHIPPED, True, api_name="/analyse"
    )
    overlay = overlay["video"] if isinstance(overlay, dict) else overlay
    assert "140 frames" in note
    assert "1 face" in note
    assert len(fine["confidences"]) == 7
    assert sum(entry["confidence"] for entry in fine["confidences"]) == pytest.approx(1, abs=1e-4)
    assert {entry["label"] for entry in coarse["confidences"]} == {"positive", "neutral", "negative"}
    assert "Not seen:" in timeline
    assert len(table["data"]) == 140
    assert len(list(read_frames(overlay))) == 140
    said = json.loads(Path(json_file).read_text(encoding="utf-8"))
    assert said["model"] == SHIPPED
    assert said["faces"][0]["fine"]["label"] == fine["label"]
    rows = list(csv.DictReader(Path(csv_file).read_text(encoding="utf-8").splitlines()))
    hidden = [float(row["time_seconds"]) for row in rows if not row["fine"]]
    assert 2.3 < min(hidden) < 2.9
    assert 3.4 < max(hidden) < 4.1


def test_several_faces_can_be_chosen_from(predictor, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers = app.Handlers({"tiny": predictor}, LIMITS)
    request = SimpleNamespace(session_hash="page")
    answer = handlers.analyse(str(clips / "pair.webm"), "tiny", False, request, ignore_progress)
    shown = answer[-1]
    choice, *_ = handlers.unveil(shown)
    assert choice.visible
    first, second = [track_id for _, track_id in choice.choices]
    assert answer[2:6] == handlers.show_face(shown, first) != handlers.show_face(shown, second)


def test_a_single_face_is_no_choice():
    face = app.ShownFace("Face 1", {}, {}, "", [])
    choice, *_ = app.Handlers({}, LIMITS).unveil({0: face})
    assert not choice.visible


def test_an_answer_that_was_deleted_is_asked_for_again():
    with pytest.raises(gradio.Error, match="Analyse the video again"):
        app.Handlers({}, LIMITS).show_face(None, 0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sound.wav", "sound but no pictures"),
        ("empty.mp4", "empty"),
        ("text.mp4", "which starts like none of them"),
        ("faceless.webm", "none was found"),
        ("broken.webm", "damaged"),
        ("long.webm", "8 seconds"),
    ],
)
def test_bad_files_are_refused_in_plain_words(client, bad_files, cache, name, said):
    with pytest.raises(AppError) as refused:
        client.predict(handle_file(bad_files / name), "tiny", True, api_name="/analyse")
    message = str(refused.value)
    assert said in message
    assert not any(trace in message for trace in ("Traceback", "dfer_hf", ".py", str(cache)))


def test_no_file_is_refused_in_plain_words(client):
    with pytest.raises(AppError, match="Choose a video first"):
        client.predict(None, "tiny", True, api_name="/analyse")


def test_a_file_over_the_limit_is_not_even_stored(address, cache):
    large = {"files": ("large.mp4", bytes(LIMITS.max_bytes + 1000))}
    before = set(files_in(cache))  # answers to closed pages, which are deleted a little later
    reply = httpx.post(f"{address}gradio_api/upload", files=large)
    assert reply.status_code == 413
    assert "maximum allowed size" in reply.text
    assert set(files_in(cache)) <= before


def test_closing_the_page_deletes_upload_and_answer(address, cache, clips, tmp_path):
    visitor = Client(address, verbose=False, download_files=str(tmp_path))
    visitor.predict(handle_file(clips / "short.webm"), "tiny", False, api_name="/analyse")
    names = {path.name for path in files_in(cache)}
    assert {"short.webm", "overlay.webm", "prediction.json", "prediction.csv"} <= names
    visitor.close()
    assert wait_until(lambda: "short.webm" not in {path.name for path in files_in(cache)})
    assert wait_until(lambda: not files_in(cache))


def test_leftovers_are_deleted_within_the_promised_hour():
    assert app.DELETE_EVERY_SECONDS + app.DELETE_AGE_SECONDS <= 3600


def test_an_upload_lives_as_long_as_a_page_shows_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    shared, own = tmp_path / "shared.mp4", tmp_path / "own.mp4"
    shared.touch()
    own.touch()
    pages = app.OpenPages()
    pages.show("first", str(shared))
    pages.show("second", str(shared))
    assert pages.show("first", str(own))
    assert shared.exists()
    pages.close("second")
    assert not shared.exists()
    assert own.exists()


def test_files_outside_the_cache_are_never_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    example = tmp_path / "example.webm"
    example.touch()
    pages = app.OpenPages()
    pages.show("page", str(example))
    pages.close("page")
    assert example.exists()


def test_cancelling_stops_the_analysis_and_leaves_nothing(predictor, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers = app.Handlers({"tiny": predictor}, LIMITS)
    request = SimpleNamespace(session_hash="page")
    stages = []

    def press_cancel(_, desc):
        stages.append(desc)
        handlers.cancel(request)

    with pytest.raises(gradio.Error, match="stopped"):
        handlers.analyse(str(clips / "face.webm"), "tiny", False, request, press_cancel)
    assert len(stages) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def browser_page():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip(f"needs a browser on the path: one of {', '.join(names)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS.split())
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


def test_a_person_gets_an_answer_in_the_browser(address, browser_page):
    asked = []
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.goto(address)
    analyse = browser_page.get_by_role("button", name="Analyse")
    analyse.wait_for(timeout=60_000)
    assert browser_page.get_by_text("An expression is not an emotion").is_visible()
    assert browser_page.get_by_text("AI Act").is_visible()
    browser_page.locator("#clip input[type=file]").set_input_files(app.example_clip())
    browser_page.locator("#clip video").wait_for(timeout=60_000)
    analyse.click()
    browser_page.locator("#fine").get_by_text("%").first.wait_for(timeout=600_000)
    labels = dfer_hf.taxonomy.SEVEN_EMOTIONS
    assert browser_page.locator("#fine h2").inner_text().strip() in [str(label) for label in labels]
    assert "140 frames" in browser_page.locator("#summary").inner_text()
    assert "Not seen" in browser_page.locator(".dfer-timeline .words").inner_text()
    overlay = browser_page.locator("video").nth(1)
    wait_until(lambda: overlay.evaluate("video => video.readyState") >= 2)
    assert overlay.evaluate("video => video.videoWidth") == 640
    browser_page.wait_for_timeout(1000)
    if os.environ.get("DFER_SCREENSHOT"):
        browser_page.screenshot(path=os.environ["DFER_SCREENSHOT"], full_page=True)
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert outside == []
    browser_page.set_viewport_size({"width": 400, "height": 850})
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 400
