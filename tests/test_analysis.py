"""Files analysed in processes of their own: the same answers, one after the other, and what is refused."""

import json
import threading
import time

import numpy as np
import pytest

from dfer_hf.analysis import (
    CSV_NAME,
    JSON_NAME,
    OVERLAY_NAME,
    PLAIN_NAME,
    REPORT_NAME,
    AnalysisWorkers,
    load_predictors,
)
from dfer_hf.video import VideoLimits, read_frames
from dfer_hf.waiting_line import WaitingLine
from dfer_hf.worker import JobCancelledError, JobRefusedError

from .hostile_files import write_gif


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def workers(tiny_checkpoint):
    workers = AnalysisWorkers({"tiny": tiny_checkpoint}, limits=VideoLimits(max_seconds=30.0))
    workers.start()
    yield workers
    workers.close()


@pytest.fixture
def analyse(workers, tmp_path):
    def analyse(video, **options):
        options = {"heat_map": False, "on_progress": quiet, "cancelled": threading.Event()} | options
        return workers.analyse("tiny", video, tmp_path, **options)

    return analyse


def test_the_answer_is_that_of_the_library_and_its_files_lie_in_the_folder(analyse, clips, tmp_path, tiny_checkpoint):
    from dfer_hf import VideoPredictor

    heard = []
    answer = analyse(clips / "face.webm", heat_map=True, on_progress=lambda *said: heard.append(said))
    expected = VideoPredictor.from_pretrained(tiny_checkpoint, device="cpu")(clips / "face.webm")
    face = expected.faces[0]
    assert answer.faces[0].fine == pytest.approx(dict(face.fine.probabilities), abs=1e-5)
    assert answer.faces[0].answer == face.answer
    assert answer.faces[0].group == face.coarse.label
    assert len(answer.faces[0].table) == 24
    assert "24 frames" in answer.summary[0]
    assert {path.name for path in tmp_path.iterdir()} == {OVERLAY_NAME, PLAIN_NAME, JSON_NAME, CSV_NAME, REPORT_NAME}
    shown, plain = (list(read_frames(tmp_path / name)) for name in (OVERLAY_NAME, PLAIN_NAME))
    assert [frame.time_seconds for frame in shown] == [frame.time_seconds for frame in plain]
    assert len(shown) == 24
    # The one has the heat map, the other has not.
    assert np.abs(shown[12].rgb.astype(int) - plain[12].rgb).max() > 60
    said = json.loads((tmp_path / JSON_NAME).read_text(encoding="utf-8"))
    assert said["faces"][0]["fine"]["label"] == face.fine.label
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert {doing for _, doing in heard} == {"Reading the expressions", "Drawing the answer"}


def test_what_is_explained_may_be_another_class_and_must_be_one(analyse, clips):
    answer = analyse(clips / "short.webm", target="fear", instead_of="surprise")
    assert answer.faces[0].explained[0].startswith("For fear and not surprise speak:")
    with pytest.raises(JobRefusedError, match="got 'joy'"):
        analyse(clips / "short.webm", target="joy")


def test_a_picture_has_no_timeline(analyse, clips):
    answer = analyse(clips / "still.png")
    assert "1 picture" in answer.summary[0]
    assert answer.faces[0].timeline_html == ""


@pytest.mark.parametrize("name", ["empty.mp4", "text.mp4", "missing.mp4"])
def test_a_bad_file_is_refused_at_first_sight(workers, clips, name):
    with pytest.raises(JobRefusedError, match=name):
        workers.look_at(clips / name)


def test_a_clip_without_a_face_is_refused(analyse, clips):
    with pytest.raises(JobRefusedError, match="face"):
        analyse(clips / "faceless.webm")


def test_a_small_file_of_many_pixels_is_refused_at_first_sight(workers, tmp_path):
    bomb = write_gif(tmp_path / "bomb.gif", side=4000, num_frames=1400)
    assert bomb.stat().st_size < 40_000
    started = time.monotonic()
    with pytest.raises(JobRefusedError, match="16 billion pixels"):
        workers.look_at(bomb)
    assert time.monotonic() - started < 5


def test_pixels_are_counted_again_when_they_are_decoded(workers, analyse, clips, monkeypatch):
    monkeypatch.setattr(workers, "max_pixels", 160 * 120 * 20)
    # As if the header had said less.
    monkeypatch.setattr(workers, "look_at", lambda _: 1.0)
    with pytest.raises(JobRefusedError, match="pixels"):
        analyse(clips / "face.webm")


def test_a_checkpoint_that_cannot_be_used_is_refused_at_the_start(tmp_path):
    with pytest.raises(JobRefusedError, match="config"):
        load_predictors({"none": tmp_path})


def test_short_ones_go_first_but_nobody_waits_for_ever():
    line, order, said = WaitingLine(), [], []

    def come(name, seconds, on_progress=quiet):
        with line.take(seconds, on_progress=on_progress, cancelled=threading.Event()):
            order.append(name)

    threads = []
    with line.take(0.0, on_progress=quiet, cancelled=threading.Event()):
        for name, seconds, listener in (
            ("long", 100.0, lambda *heard: said.append(heard)),
            ("short", 1.0, quiet),
            ("brief", 0.3, quiet),
        ):
            threads.append(threading.Thread(target=come, args=(name, seconds, listener)))
            threads[-1].start()
            time.sleep(0.1)
        # A second after `short` came, what brings less than that came too late to go before it.
        time.sleep(1.0)
        threads.append(threading.Thread(target=come, args=("late", 0.3)))
        threads[-1].start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert order == ["brief", "short", "late", "long"]
    assert said[0] == (0.0, "Waiting for 1 before you")
    assert (0.0, "Waiting for 3 before you") in said


def test_who_waits_can_leave():
    line, left = WaitingLine(), threading.Event()
    left.set()
    free = threading.Event()
    with (
        line.take(0.0, on_progress=quiet, cancelled=free),
        pytest.raises(JobCancelledError),
        line.take(0.0, on_progress=quiet, cancelled=left),
    ):
        pass
    with line.take(0.0, on_progress=quiet, cancelled=free):
        pass
