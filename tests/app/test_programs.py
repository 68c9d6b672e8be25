"""The page, driven as a program would."""

import csv
import http.server
import json
import re
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from dfer_hf.open_pages import Answer
from dfer_hf.shown_answer import ShownFace
from dfer_hf.video import read_frames

from ..hostile_files import write_gif
from .visits import LIMITS, SHIPPED, call, files_in, ignore_progress, jobs_of, let_all_come_at_once, named, wait_until

gradio = pytest.importorskip("gradio", reason="the app needs gradio")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

import app  # noqa: E402
from page.guards import example_clip  # noqa: E402
from page.layout import DecidedLabel  # noqa: E402


def test_a_program_gets_everything_that_is_found(client, clips):
    overlay, note, fine, coarse, timeline, table, strip, json_file, _, report = client.predict(
        handle_file(clips / "short.webm"), "tiny", True, api_name="/analyse"
    )
    assert "5 frames · 0.5 seconds · 1 face · tiny" in note.replace("<p>", "")
    assert sum(entry["confidence"] for entry in fine["confidences"]) == pytest.approx(1, abs=1e-4)
    assert {entry["label"] for entry in coarse["confidences"]} == {"positive", "neutral", "negative"}
    assert "Lost without" in timeline
    assert 1 <= strip.count("<img ") <= 5
    assert len(table["data"]) == len(list(read_frames(overlay))) == 5
    assert json.loads(Path(json_file).read_text(encoding="utf-8"))["faces"][0]["fine"]["label"] in fine["label"]
    assert "What speaks for it" in Path(report).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_program_gets_the_whole_answer_for_the_example_clip(client):
    overlay, note, fine, coarse, timeline, table, strip, json_file, csv_file, report = client.predict(
        handle_file(example_clip()), SHIPPED, True, api_name="/analyse"
    )
    overlay = overlay["video"] if isinstance(overlay, dict) else overlay
    assert "140 frames" in note
    assert "1 face" in note
    assert len(fine["confidences"]) == 7
    assert sum(entry["confidence"] for entry in fine["confidences"]) == pytest.approx(1, abs=1e-4)
    assert {entry["label"] for entry in coarse["confidences"]} == {"positive", "neutral", "negative"}
    assert "Not seen:" in timeline
    assert strip.count("<img ") == 6
    assert "The frames that counted most" in Path(report).read_text(encoding="utf-8")
    assert len(table["data"]) == 140
    assert len(list(read_frames(overlay))) == 140
    said = json.loads(Path(json_file).read_text(encoding="utf-8"))
    assert said["model"] == SHIPPED
    assert said["faces"][0]["fine"]["label"] == fine["label"]
    rows = list(csv.DictReader(Path(csv_file).read_text(encoding="utf-8").splitlines()))
    hidden = [float(row["time_seconds"]) for row in rows if not row["fine"]]
    assert 2.3 < min(hidden) < 2.9
    assert 3.4 < max(hidden) < 4.1


def test_a_program_lets_models_be_compared(client, clips):
    shown, json_file, report = client.predict(
        handle_file(clips / "short.webm"), ["tiny", SHIPPED], api_name="/compare"
    )
    assert "They agree on the expression for" in shown
    assert json.loads(Path(json_file).read_text(encoding="utf-8"))["models"] == ["tiny", SHIPPED]
    assert "short.webm</h2>" in Path(report).read_text(encoding="utf-8")


def test_one_model_is_no_comparison(client, clips):
    with pytest.raises(AppError, match="two models or more"):
        client.predict(handle_file(clips / "short.webm"), ["tiny"], api_name="/compare")


def test_several_faces_can_be_chosen_from(workers, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers = app.Handlers(workers)
    request = SimpleNamespace(session_hash="page")
    answer = handlers.analyse(str(clips / "pair.webm"), "tiny", False, "en", request, ignore_progress)
    choice, *_ = handlers.unveil(request)
    assert choice.visible
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="Picture of Face (\d)">', choice.value)
    assert [number for _, number in pictures] == ["1", "2"]
    assert pictures[0][0] != pictures[1][0]
    first, second = (SimpleNamespace(track_id=track_id) for track_id in (0, 1))
    shown = handlers.choose_face(first, request)[:-1]
    assert answer[2:7] == shown != handlers.choose_face(second, request)[:-1]
    # It stays chosen, also in the next answer.
    assert re.findall(r'value="(\d)" checked', handlers.unveil(request)[0].value) == ["1"]
    again = handlers.analyse(str(clips / "pair.webm"), "tiny", False, "en", request, ignore_progress)
    assert again[2:7] == handlers.choose_face(second, request)[:-1]


def test_why_one_and_not_another_is_explained_on_the_page(workers, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers, request = app.Handlers(workers), SimpleNamespace(session_hash="page")
    with pytest.raises(gradio.Error, match="Analyse the video again"):
        handlers.explain("fear", "", "en", request, ignore_progress)
    first = handlers.analyse(str(clips / "short.webm"), "tiny", True, "en", request, ignore_progress)
    (face,) = handlers.pages.page("page").faces.values()
    assert face.explained[0].startswith(f"For {face.label} speak:")
    # Only the other is named: why the answer and not that.
    other = next(label for label in face.fine if label != face.label)
    again = handlers.explain("", other, "de", request, ignore_progress)
    *_, player, why, targets, _ = handlers.unveil(request)
    assert f"For {face.label} and not {other} speak:" in why
    assert re.findall(r'<option value="([^"]*)" selected', targets) == [face.label, other]
    assert again[2:4] == first[2:4]
    assert targets.count('<option value="positive">positive (group)</option>') == 2
    assert 'class="map-opacity"' in player
    with pytest.raises(gradio.Error, match="share no class"):
        handlers.explain(other, other, "en", request, ignore_progress)


def test_a_map_that_was_not_asked_for_cannot_be_faded(workers, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers, request = app.Handlers(workers), SimpleNamespace(session_hash="page")
    handlers.analyse(str(clips / "short.webm"), "tiny", False, "en", request, ignore_progress)
    player = handlers.unveil(request)[3]
    assert 'class="base"' in player
    assert "map-opacity" not in player


def test_another_model_makes_the_answer_an_old_one(workers, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers, request = app.Handlers(workers), SimpleNamespace(session_hash="page")
    assert handlers.choose_model(SHIPPED, request) == ""
    handlers.analyse(str(clips / "short.webm"), "tiny", False, "en", request, ignore_progress)
    assert "The answer below is from tiny" in handlers.choose_model(SHIPPED, request)
    assert handlers.choose_model("tiny", request) == ""


def test_a_single_face_is_no_choice(workers):
    handlers = app.Handlers(workers)
    handlers.pages.show("page", "clip.mp4")
    page = handlers.pages.page("page")
    page.faces = {0: ShownFace(0, "Face 1", "", "", {}, "", {}, "", "", [], [], "")}
    page.answer = Answer("tiny", Path("clip.mp4"), Path("folder"))
    choice, *_ = handlers.unveil(SimpleNamespace(session_hash="page"))
    assert not choice.visible


def test_an_answer_that_was_deleted_is_asked_for_again(workers):
    with pytest.raises(gradio.Error, match="Analyse the video again"):
        app.Handlers(workers).choose_face(SimpleNamespace(track_id=0), SimpleNamespace(session_hash="page"))


def test_the_headline_is_the_answer_and_not_the_most_probable_class():
    shown = DecidedLabel().postprocess(("not sure, perhaps fear", {"anger": 0.5, "fear": 0.3, "neutral": 0.2}))
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
        ("long.webm", "120 seconds"),
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
    said = call(address, [named(str(cache / "deleted.mp4")) if deleted else None, "tiny", False, "en"])
    assert "event: error" in said
    assert "Choose a video or image first" in said


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


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("kind", ["address", "stream", "path", "relative"])
def test_addresses_and_paths_are_refused_before_anything_is_fetched(address, elsewhere, place, kind):
    url, asked = elsewhere
    file = {
        "address": named(url),
        "stream": named(url) | {"is_stream": True},
        "path": named("/etc/passwd"),
        "relative": named("../../etc/passwd"),
    }[kind]
    data = [None, "tiny", False, "en"]
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


@pytest.mark.slow
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
    assert {"short.webm", "overlay.webm", "prediction.json", "prediction.csv", "report.html"} <= names
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


def test_cancelling_stops_the_analysis_and_leaves_nothing(workers, recording, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    handlers = app.Handlers(workers)
    request = SimpleNamespace(session_hash="page")
    pressed = []

    def press_cancel(*_, **__):
        pressed.append(time.monotonic())
        handlers.cancel(request)

    with pytest.raises(gradio.Error, match="stopped"):
        handlers.analyse(str(recording), "tiny", False, "en", request, press_cancel)
    assert time.monotonic() - pressed[0] < 2
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_four_visitors_at_once_two_of_them_hostile(address, cache, clips, tmp_path):
    before = set(cache.iterdir())
    bomb = write_gif(tmp_path / "bomb.gif", side=4000, num_frames=900, frames_per_second=5)
    paths = (clips / "face.webm", bomb, clips / "text.mp4", clips / "short.webm")
    expected = ["frames", "seconds", "text.mp4", "frames"]
    let_all_come_at_once(address, [handle_file(path) for path in paths], expected, tmp_path, model="tiny")
    assert wait_until(lambda: set(cache.iterdir()) <= before, seconds=5)
