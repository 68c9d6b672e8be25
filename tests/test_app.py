"""The page, driven as a program and as a person would."""

import csv
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import httpx
import numpy as np
import pytest

gradio = pytest.importorskip("gradio", reason="the app needs gradio")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

import app  # noqa: E402
import dfer_hf  # noqa: E402
from dfer_hf import open_pages  # noqa: E402
from dfer_hf.analysis import AnalysisWorkers, ShownFace  # noqa: E402
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT  # noqa: E402
from dfer_hf.open_pages import OpenPages  # noqa: E402
from dfer_hf.video import VideoLimits, read_frames, write_video  # noqa: E402

from .hostile_files import write_gif, write_recording  # noqa: E402

SHIPPED = DEFAULT_CHECKPOINT
LIMITS = VideoLimits(max_bytes=1_500_000, max_seconds=8.0)
CHROMIUM_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        patch.setenv("GRADIO_HEARTBEAT_INTERVAL", "1")
        # As if the hosts that Gradio trusts were this one: nothing else keeps it from fetching.
        patch.setattr("gradio.processing_utils.PUBLIC_HOSTNAME_WHITELIST", ["127.0.0.1"])
        demo = app.build_demo(workers)
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
    return [Path(place) / name for place, _, names in os.walk(folder) for name in names]


def ignore_progress(*_, **__):
    pass


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


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


@pytest.fixture
def recording(scene, tmp_path):
    """Seven seconds from a webcam."""
    return write_recording(tmp_path / "recording.webm", (scene(index % 40) for index in range(175)))


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


def test_several_faces_can_be_chosen_from(workers, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers = app.Handlers(workers)
    request = SimpleNamespace(session_hash="page")
    answer = handlers.analyse(str(clips / "pair.webm"), "tiny", False, request, ignore_progress)
    choice, *_ = handlers.unveil(request)
    assert choice.visible
    first, second = [track_id for _, track_id in choice.choices]
    assert answer[2:6] == handlers.choose_face(first, request) != handlers.choose_face(second, request)


def test_a_single_face_is_no_choice(workers):
    handlers = app.Handlers(workers)
    handlers.pages.show("page", "clip.mp4")
    handlers.pages.page("page").faces = {0: ShownFace(0, "Face 1", "", {}, "", {}, "", [])}
    choice, *_ = handlers.unveil(SimpleNamespace(session_hash="page"))
    assert not choice.visible


def test_an_answer_that_was_deleted_is_asked_for_again(workers):
    with pytest.raises(gradio.Error, match="Analyse the video again"):
        app.Handlers(workers).choose_face(0, SimpleNamespace(session_hash="page"))


def test_the_headline_is_the_answer_and_not_the_most_probable_class():
    shown = app.DecidedLabel().postprocess(("not sure, perhaps fear", {"anger": 0.5, "fear": 0.3, "neutral": 0.2}))
    assert shown.label == "not sure, perhaps fear"
    assert [entry.label for entry in shown.confidences] == ["anger", "fear", "neutral"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sound.wav", "sound"),
        ("empty.mp4", "empty"),
        ("text.mp4", "text.mp4"),
        ("faceless.webm", "none was found"),
        ("broken.webm", "broken.webm"),
        ("long.webm", "8 seconds"),
    ],
)
def test_bad_files_are_refused_in_plain_words(client, bad_files, cache, name, said):
    with pytest.raises(AppError) as refused:
        client.predict(handle_file(bad_files / name), "tiny", True, api_name="/analyse")
    message = str(refused.value)
    assert said in message
    assert not any(trace in message for trace in ("Traceback", "dfer_hf", ".py", str(cache)))


def test_bad_files_need_not_wait_for_their_turn(client, workers, bad_files):
    free = threading.Event()
    busy = workers._turns.take(0.0, on_progress=ignore_progress, cancelled=free)
    with busy, pytest.raises(AppError, match="empty"):
        client.predict(handle_file(bad_files / "empty.mp4"), "tiny", True, api_name="/analyse")


@pytest.mark.parametrize("deleted", [False, True])
def test_no_file_is_refused_in_plain_words(address, cache, deleted):
    said = call(address, [named(str(cache / "deleted.mp4")) if deleted else None, "tiny", False])
    assert "event: error" in said
    assert "Choose a video first" in said


def test_a_file_over_the_limit_is_not_even_stored(address, cache):
    large = {"files": ("large.mp4", bytes(LIMITS.max_bytes + 1000))}
    # Answers to closed pages, which are deleted a little later.
    before = set(files_in(cache))
    reply = httpx.post(f"{address}gradio_api/upload", files=large)
    assert reply.status_code == 413
    assert "maximum allowed size" in reply.text
    assert set(files_in(cache)) <= before


@pytest.mark.parametrize(
    "name", [b"x" * 245 + b".webm", b"\xff\xfe*_[a](b) <i>\xc3\xa9 .webm", b"..", b".webm", b"a/b\\c"]
)
def test_odd_names_are_fine(client, address, clips, name):
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n' % name
    body = head + (clips / "short.webm").read_bytes() + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = httpx.post(f"{address}gradio_api/upload", content=body, headers=headers)
    if name == b"..":
        assert reply.status_code == 400
        return
    uploaded = {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}
    _, note, *_ = client.predict(uploaded, "tiny", False, api_name="/analyse")
    assert "5 frames" in note


@pytest.fixture(scope="module")
def elsewhere(clips):
    """A server of something else, and what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write((clips / "short.webm").read_bytes())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/clip.webm", asked
    server.shutdown()


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("kind", ["address", "stream", "path", "relative"])
def test_addresses_and_paths_are_refused_before_anything_is_fetched(address, elsewhere, place, kind):
    url, asked = elsewhere
    file = {
        "address": named(url),
        "stream": named(url) | {"is_stream": True},
        "path": named("/etc/passwd"),
        "relative": named("../../etc/passwd"),
    }[kind]
    data = [None, "tiny", False]
    data[place] = [file] if place == 2 else file
    said = call(address, data)
    assert "event: error" in said
    assert "addresses and paths are not followed" in said
    assert asked == []


def test_the_client_may_not_name_an_address_either(client, elsewhere):
    url, asked = elsewhere
    with pytest.raises(AppError, match="addresses and paths are not followed"):
        client.predict(handle_file(url), "tiny", False, api_name="/analyse")
    assert asked == []


def test_private_events_refuse_addresses_too(address, elsewhere):
    url, asked = elsewhere
    config = httpx.get(f"{address}config").json()
    for event in config["dependencies"]:
        body = {"data": [named(url)] * len(event["inputs"]), "session_hash": "x", "fn_index": event["id"]}
        for route in ("run/predict", "queue/join", "api/predict"):
            httpx.post(f"{address}gradio_api/{route}", json=body, timeout=30)
    time.sleep(0.5)
    assert asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("route", ["file={}", "file/{}", "proxy={}"])
def test_the_server_fetches_nothing_for_anybody(address, elsewhere, method, route):
    url, asked = elsewhere
    assert httpx.request(method, f"{address}gradio_api/{route.format(url)}").status_code == 403
    assert asked == []


def test_videos_are_only_taken_by_the_route_that_looks_at_them(address, clips):
    files = {"video": ("clip.webm", (clips / "short.webm").read_bytes())}
    assert httpx.post(f"{address}gradio_api/process_recording", files=files).status_code == 403
    assert httpx.post(f"{address}gradio_api/run/analyse", json={"data": [None, "", False]}).status_code == 404


def test_closing_the_page_deletes_upload_and_answer(address, cache, clips, tmp_path):
    before = set(cache.iterdir())
    visitor = Client(address, verbose=False, download_files=str(tmp_path))
    visitor.predict(handle_file(clips / "short.webm"), "tiny", False, api_name="/analyse")
    names = {path.name for path in files_in(cache)}
    assert {"short.webm", "overlay.webm", "prediction.json", "prediction.csv"} <= names
    visitor.close()
    assert wait_until(lambda: "short.webm" not in {path.name for path in files_in(cache)})
    assert wait_until(lambda: set(cache.iterdir()) <= before)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_closing_the_page_stops_its_analysis_within_two_seconds(address, workers, recording, tmp_path, cache):
    before = set(cache.iterdir())
    visitor = Client(address, verbose=False, download_files=str(tmp_path))
    visitor.submit(handle_file(recording), SHIPPED, True, api_name="/analyse")
    assert wait_until(lambda: list(cache.rglob("recording.webm")))
    assert wait_until(lambda: jobs_of(workers) and not workers._turns._waiting)
    time.sleep(1)
    assert jobs_of(workers)
    visitor.close()
    assert wait_until(lambda: not jobs_of(workers), seconds=2)
    assert wait_until(lambda: set(cache.iterdir()) <= before, seconds=2)


def test_leftovers_are_deleted_within_the_promised_hour():
    assert open_pages.DELETE_EVERY + open_pages.DELETE_AGE <= 3600


def test_old_pages_and_uploads_that_broke_off_are_deleted(tmp_path):
    pages = OpenPages(tmp_path)
    names = ("a/old.mp4", "b/new.mp4", "tmpold", "tmpnew", "c/answer.json")
    old, new, broken, coming, answer = (tmp_path / name for name in names)
    for path in (old, new, broken, coming, answer):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    pages.show("page", str(old))
    pages.page("page").folders.add(answer.parent)
    pages.page("page").last_used -= open_pages.DELETE_AGE + 1
    os.utime(broken, (0, time.time() - open_pages.STALLED_AGE - 1))
    pages.delete_old()
    assert {path.name for path in files_in(tmp_path)} == {"new.mp4", "tmpnew"}
    assert not pages.pages
    os.utime(new, (0, time.time() - open_pages.DELETE_AGE - 1))
    pages.delete_old()
    assert files_in(tmp_path) == [coming]
    os.utime(new.parent, (0, 0))
    pages.delete_old()
    assert list(tmp_path.iterdir()) == [coming]


def test_an_upload_lives_as_long_as_a_page_shows_it(tmp_path):
    shared, own = tmp_path / "a" / "shared.mp4", tmp_path / "b" / "own.mp4"
    for path in (shared, own):
        path.parent.mkdir()
        path.touch()
    pages = OpenPages(tmp_path)
    pages.show("first", str(shared))
    pages.show("second", str(shared))
    assert pages.show("first", str(own))
    assert shared.exists()
    pages.close("second")
    assert not shared.exists()
    assert own.exists()


def test_an_analysis_that_starts_as_its_page_closes_is_stopped(tmp_path):
    pages = OpenPages(tmp_path)
    pages.close("page")
    with pages.analysis("page") as (_, page):
        assert page.cancelled.is_set()


def test_results_stay_unless_the_analysis_fails(tmp_path):
    pages = OpenPages(tmp_path)
    with pages.analysis("page") as (good, _):
        (good / "overlay.webm").touch()
    with suppress(ZeroDivisionError), pages.analysis("page") as (bad, _):
        (bad / "overlay.webm").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [good]
    pages.close("page")
    assert list(tmp_path.iterdir()) == []


def test_files_outside_the_cache_are_never_deleted(tmp_path):
    example = tmp_path / "example.webm"
    example.touch()
    pages = OpenPages(tmp_path / "cache")
    pages.show("page", str(example))
    pages.close("page")
    assert example.exists()


def test_cancelling_stops_the_analysis_and_leaves_nothing(workers, recording, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    handlers = app.Handlers(workers)
    request = SimpleNamespace(session_hash="page")
    pressed = []

    def press_cancel(*_, **__):
        pressed.append(time.monotonic())
        handlers.cancel(request)

    with pytest.raises(gradio.Error, match="stopped"):
        handlers.analyse(str(recording), "tiny", False, request, press_cancel)
    assert time.monotonic() - pressed[0] < 2
    assert list((tmp_path / "cache").iterdir()) == []


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
    page.goto(address)
    page.get_by_role("button", name="Analyse").wait_for(timeout=60_000)
    yield page
    page.close()


def choose(page, file):
    """Choose a file as a person does."""
    page.locator("#clip input[type=file]").set_input_files(file)


EVERYTHING_STORED = """async () => ({
    local: {...localStorage},
    session: {...sessionStorage},
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    cookies: document.cookie,
})"""
NOTHING = {"local": {}, "session": {}, "databases": [], "caches": [], "cookies": ""}


def width_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 850})
    page.wait_for_timeout(500)
    return page.evaluate("document.scrollingElement.scrollWidth")


def test_a_person_gets_an_answer_in_the_browser_and_nothing_of_it_stays(address, browser_page, cache):
    asked, before = [], set(cache.iterdir())
    browser_page.on("request", lambda request: asked.append(request.url))
    assert browser_page.get_by_text("An expression is not an emotion").is_visible()
    assert browser_page.get_by_text("AI Act").is_visible()
    if os.environ.get("DFER_SCREENSHOT"):
        browser_page.get_by_label("Model").click()
        browser_page.get_by_role("option", name=SHIPPED).click()
    choose(browser_page, app.example_clip())
    browser_page.locator("#clip video").wait_for(timeout=60_000)
    browser_page.get_by_role("button", name="Analyse").click()
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
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    browser_page.get_by_text("Frame by frame, as a table").click()
    browser_page.get_by_text("group probability").first.wait_for()
    assert width_on_a_phone(browser_page) <= 390
    assert browser_page.evaluate(EVERYTHING_STORED) == NOTHING
    assert set(cache.iterdir()) - before
    browser_page.close()
    assert wait_until(lambda: set(cache.iterdir()) <= before, seconds=5)


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
            browser_page.locator("#fine").get_by_text("%").first.wait_for(timeout=60_000)
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


def test_a_person_can_record_a_clip(browser_page):
    browser_page.get_by_role("tab", name="Record").click()
    browser_page.get_by_text("Click to Access Webcam").click()
    browser_page.get_by_title("start recording").click()
    browser_page.wait_for_timeout(3000)
    browser_page.get_by_title("stop recording").click()
    browser_page.locator("#clip video").wait_for()
    assert browser_page.get_by_role("tab", name="Upload").get_attribute("aria-selected") == "true"


@pytest.fixture
def server(tmp_path):
    """The app as people start it: its process, its address and where it stores what it is given."""
    stored = tmp_path / "stored"
    stored.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(stored), "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, app.__file__, "--port", str(port)]
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        address = f"http://127.0.0.1:{port}/"
        try:
            assert wait_until(lambda: process.poll() is not None or answers(address), seconds=120)
            yield process, address, stored
        finally:
            process.kill()


def answers(address):
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False


def memory_of(process):
    resident, shared = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1:3]
    return int(resident) - int(shared)


def processes_of(process):
    """Processes that a process has started, and those that they have."""
    found, parents = set(), [str(process.pid)]
    while parents:
        for task in Path(f"/proc/{parents.pop()}/task").iterdir():
            started = set((task / "children").read_text(encoding="ascii").split())
            found |= started
            parents += started
    return found


def visit(address, file, downloads, model):
    """Come, ask for an answer, and go; return what was said and how long it took."""
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


def test_four_visitors_at_once_two_of_them_hostile(address, cache, clips, tmp_path):
    before = set(cache.iterdir())
    bomb = write_gif(tmp_path / "bomb.gif", side=4000, num_frames=1100, frames_per_second=100)
    paths = (clips / "face.webm", bomb, clips / "text.mp4", clips / "short.webm")
    expected = ["frames", "seconds", "text.mp4", "frames"]
    let_all_come_at_once(address, [handle_file(path) for path in paths], expected, tmp_path, model="tiny")
    assert wait_until(lambda: set(cache.iterdir()) <= before, seconds=5)


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
    visit(address, files[0], tmp_path, "dfer-frame-small")
    before = memory_of(process)
    let_all_come_at_once(address, files, expected, tmp_path, model="dfer-frame-small")
    assert wait_until(lambda: not files_in(stored), seconds=5)
    assert memory_of(process) < 1.1 * before


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_sigterm_ends_everything_and_leaves_nothing(server, tmp_path):
    process, address, stored = server
    visitor = Client(address, verbose=False, download_files=str(tmp_path))
    visitor.submit(handle_file(app.example_clip()), "dfer-frame-small", True, api_name="/analyse")
    # The one that forks, and its fork.
    assert wait_until(lambda: len(processes_of(process)) == 2)
    started = processes_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0
    assert wait_until(lambda: not any((Path("/proc") / pid).exists() for pid in started), seconds=5)
    assert list(stored.iterdir()) == []
