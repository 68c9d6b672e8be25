"""The tab that watches a camera, picture by picture, and in a browser with a made-up camera."""

import io
import sys
import threading

import httpx
import numpy as np
import pytest
from PIL import Image

import dfer_hf
from dfer_hf.live import LiveReader, decode_picture, watch
from dfer_hf.predictor import VideoPredictor
from dfer_hf.video import read_frames
from dfer_hf.worker import JobRefusedError

from .visits import files_in, ignore_progress, jobs_of, wait_until

pytest.importorskip("gradio", reason="the app needs gradio")
from page import live
from page.guards import example_clip
from page.live import CameraError, LiveCameras

LIGHTEST = live.LIGHTEST
CAMERA = "0123456789abcdef"


@pytest.fixture(scope="module")
def pictures():
    """A face, as a page sends it: small JPEGs."""
    frames = [frame.rgb for frame in read_frames(example_clip())][:12]
    return [as_jpeg(np.asarray(Image.fromarray(rgb).resize((320, 240)))) for rgb in frames]


def as_jpeg(rgb):
    written = io.BytesIO()
    Image.fromarray(rgb).save(written, "JPEG", quality=85)
    return written.getvalue()


def post(address, picture, *, camera=CAMERA, model="tiny"):
    return httpx.post(f"{address}live", params={"camera": camera, "model": model}, content=picture, timeout=60)


@pytest.fixture
def stopped(address):
    yield
    httpx.delete(f"{address}live", params={"camera": CAMERA})


@pytest.mark.usefixtures("stopped")
def test_pictures_are_answered_one_by_one_and_none_is_stored(address, pictures, cache):
    before = set(files_in(cache))
    for number, picture in enumerate(pictures[:4]):
        said = post(address, picture).raise_for_status().json()
        assert said["frame_index"] == number
        assert sum(said["fine"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert said["answer"]
        left, top, right, bottom = said["box"]
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
    nobody = post(address, as_jpeg(np.full((240, 320, 3), 90, dtype=np.uint8))).json()
    assert nobody["answer"] == "face not seen"
    assert nobody["fine"] is None
    assert set(files_in(cache)) == before


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("picture", "options", "name"),
    [
        (b"GIF89a", {}, "NotAPictureError"),
        (as_jpeg(np.zeros((700, 700, 3), dtype=np.uint8)), {}, "NotAPictureError"),
        (bytes(400_000), {}, "PictureTooLargeError"),
        (b"", {"model": "nobody"}, "UnknownModelError"),
        (b"", {"camera": "../../etc"}, "CameraUnknownError"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(address, picture, options, name):
    reply = post(address, picture, **options)
    assert 400 <= reply.status_code < 500
    assert reply.json()["error"] == name
    assert "Traceback" not in reply.text


@pytest.mark.usefixtures("stopped")
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_second_camera_is_told_to_wait_and_stopping_makes_room(address, pictures, workers):
    assert post(address, pictures[0]).is_success
    busy = post(address, pictures[0], camera="another-camera-name")
    assert (busy.status_code, busy.json()["error"]) == (429, "CameraBusyError")
    httpx.delete(f"{address}live", params={"camera": CAMERA}).raise_for_status()
    assert wait_until(lambda: not jobs_of(workers))
    assert post(address, pictures[0], camera="another-camera-name").is_success
    httpx.delete(f"{address}live", params={"camera": "another-camera-name"})


def test_a_camera_that_sends_nothing_any_more_makes_room(workers, pictures, monkeypatch):
    cameras = LiveCameras(workers)
    cameras.answer(CAMERA, "tiny", pictures[0])
    cameras.close_idle()
    assert list(cameras.cameras) == [CAMERA]
    monkeypatch.setattr(live, "IDLE_SECONDS", 0.0)
    cameras.close_idle()
    assert not cameras.cameras


def test_no_camera_is_watched_where_none_shall_be(workers, pictures):
    with pytest.raises(CameraError, match="watches no cameras"):
        LiveCameras(workers, most=0).answer(CAMERA, "tiny", pictures[0])


@pytest.mark.usefixtures("stopped")
def test_files_are_analysed_while_a_camera_is_watched(address, workers, pictures, clips, tmp_path):
    over = threading.Event()
    answered = []

    def keep_watching():
        while not over.is_set():
            answered.append(post(address, pictures[0]).is_success)

    watching = threading.Thread(target=keep_watching)
    watching.start()
    try:
        options = {"heat_map": False, "on_progress": ignore_progress, "cancelled": threading.Event()}
        answer = workers.analyse("tiny", clips / "short.webm", tmp_path, **options)
    finally:
        over.set()
        watching.join()
    assert answer.faces
    assert answered
    assert all(answered)


def test_the_answer_follows_a_change_smoothly_and_another_face_starts_anew(tiny_checkpoint):
    reader = LiveReader(VideoPredictor.from_pretrained(tiny_checkpoint))
    frames = [frame.rgb for frame in read_frames(example_clip())][:6]
    for number in range(6):
        seen = reader.add(frames[number], number * 0.1)
        assert seen.fine is not None
    assert len(reader.ring) == 6
    reader.add(frames[0], 60.0)
    assert len(reader.ring) == 1
    reader.box = (0.0, 0.0, 1.0, 1.0)
    reader.add(frames[0], 60.1)
    assert len(reader.ring) == 1


def test_a_picture_that_claims_to_be_huge_is_refused_unread():
    huge = bytearray(as_jpeg(np.zeros((64, 64, 3), dtype=np.uint8)))
    place = huge.index(b"\xff\xc0") + 5
    huge[place : place + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(JobRefusedError, match="640"):
        decode_picture(bytes(huge))


def test_a_shipped_checkpoint_answers_the_pictures_of_a_camera(pictures):
    if LIGHTEST not in dfer_hf.shipped_checkpoints():
        pytest.skip(f"{LIGHTEST} is not part of this installation")
    answer = watch(VideoPredictor.from_pretrained(LIGHTEST, device="cpu"))
    assert "happiness" in [answer(picture)["answer"] for picture in pictures]
