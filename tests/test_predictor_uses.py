"""What a predictor takes, and where it works: any source of frames, in threads and other processes."""

import io
import mmap
import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import dfer_hf
from dfer_hf.face_reader import WindowReader
from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification
from dfer_hf.video import Frame, FrameSpool, VideoNotFoundError, read_frames

PIXELS = np.zeros((60, 60, 3), np.uint8)


@pytest.mark.parametrize("rate", [0, -15, float("nan"), float("inf")])
def test_a_rate_that_no_frames_have_is_refused(predictor, rate):
    with pytest.raises(ValueError, match="finite and above 0"):
        predictor([PIXELS, PIXELS], frames_per_second=rate)


@pytest.mark.parametrize("rate", [0, -5, float("nan")])
def test_a_rate_of_analysis_that_picks_no_frame_is_refused(tiny_checkpoint, rate):
    with pytest.raises(ValueError, match="`max_analysed_rate` above 0"):
        dfer_hf.VideoPredictor.from_pretrained(tiny_checkpoint, max_analysed_rate=rate)


def test_frames_that_were_shrunk_are_answered_in_pixels_of_the_original(predictor, prediction, clips):
    with FrameSpool(max_side=100) as spool:
        for frame in read_frames(clips / "face.webm"):
            spool.add(frame)
        answer = predictor(spool)
    assert answer.faces[0].quality.size_pixels == pytest.approx(prediction.faces[0].quality.size_pixels, rel=0.1)
    boxes, expected = (np.array([frame.box for frame in found.faces[0].frames]) for found in (answer, prediction))
    np.testing.assert_allclose(boxes, expected, atol=6)


def test_a_mapped_file_is_a_file(predictor, prediction, clips):
    with (clips / "face.webm").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        answer = predictor(mapped)
    assert answer.faces[0].fine.probabilities == pytest.approx(prediction.faces[0].fine.probabilities, abs=1e-4)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "La"])
def test_a_picture_of_any_mode_is_answered_as_the_file_is(predictor, clips, mode):
    with Image.open(clips / "still.png") as picture:
        grey = np.array(picture.convert("L"))
    sixteen = grey.astype(np.uint16) * 257
    made = {
        "I;16": lambda: Image.fromarray(sixteen),
        "I": lambda: Image.fromarray(sixteen.astype(np.int32)),
        "F": lambda: Image.fromarray((grey / 255).astype(np.float32)),
        "La": lambda: Image.fromarray(grey).convert("LA").convert("La"),
    }[mode]()
    assert made.mode == mode
    expected = predictor(np.repeat(grey[..., None], 3, axis=2)).faces[0].fine.probabilities
    assert predictor(made).faces[0].fine.probabilities == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("kind", ["bytes", "file", "array", "list", "iterator", "frames"])
def test_whatever_holds_the_frames_gives_the_same_answer(predictor, prediction, clips, kind):
    path = clips / "face.webm"
    frames = list(read_frames(path))
    source = {
        "bytes": path.read_bytes(),
        "file": io.BytesIO(path.read_bytes()),
        "array": np.stack([frame.rgb for frame in frames]),
        "list": [frame.rgb for frame in frames],
        "iterator": (frame.rgb for frame in frames),
        "frames": iter(frames),
    }[kind]
    answer = predictor(source, frames_per_second=10, name="face.webm")
    assert (answer.source, answer.num_frames) == ("face.webm", 24)
    ours, theirs = answer.faces[0], prediction.faces[0]
    # A file's times are rounded, and with them the frames on which faces are searched.
    tolerance = 0.02 if kind in ("array", "list", "iterator") else 1e-4
    assert ours.fine.probabilities == pytest.approx(theirs.fine.probabilities, abs=tolerance)
    boxes, expected = ([frame.box for frame in face.frames] for face in (ours, theirs))
    np.testing.assert_allclose(boxes, expected, atol=3 if kind in ("array", "list", "iterator") else 0.01)


def test_a_picture_is_a_clip_of_one_frame(predictor, clips):
    expected = predictor(clips / "still.png").faces[0].fine.probabilities
    with Image.open(clips / "still.png") as picture:
        for source in (picture, np.array(picture)):
            answer = predictor(source)
            assert answer.num_frames == 1
            assert answer.faces[0].fine.probabilities == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros((4, 60, 60, 3), np.uint8), "frames_per_second"),
        (np.zeros((4, 60, 60, 3), np.float32), "float32"),
        (np.zeros((60, 60), np.uint8), r"\(60,\)|shape"),
        (17, "got int"),
        (io.StringIO("text"), "mode 'rb'"),
        (io.BufferedReader(io.FileIO(os.pipe()[0])), "pass the bytes"),
        ([Frame(0, 1.0, PIXELS), Frame(1, 0.5, PIXELS)], "order of their times, got one at 0.5 s after 1.0 s"),
        ([Frame(0, float("nan"), PIXELS)], "order of their times"),
    ],
)
def test_what_holds_no_frames_is_refused(predictor, source, said):
    with pytest.raises(ValueError, match=said):
        predictor(source)


def test_addresses_are_refused_by_name(predictor):
    with pytest.raises(VideoNotFoundError, match=r"clip\.mp4"):
        predictor("https://example.org/clip.mp4")


def test_every_frame_that_was_read_is_handed_on(predictor, clips):
    seen = []
    predictor(clips / "face.webm", on_frame=lambda frame: seen.append(frame.index))
    assert seen == list(range(24))


def test_whoever_has_gone_is_answered_at_once_and_as_ever(predictor, scene, monkeypatch):
    """Crops of everybody in a film would fill the memory."""
    finish, seconds_read, finished = WindowReader.finish, [0.0], []

    def note_and_finish(reader):
        finished.append(seconds_read[0])
        return finish(reader)

    monkeypatch.setattr(WindowReader, "finish", note_and_finish)
    somebody, nobody = [scene(number) for number in range(10)], np.full_like(scene(0), 90)
    film = [*somebody, *[nobody] * 130]
    answer = predictor(film, frames_per_second=10, on_frame=lambda frame: seconds_read.insert(0, frame.time_seconds))
    assert finished[0] < 12
    assert len(answer.faces) == len(finished) == 1
    alone = predictor([*somebody, *[nobody] * 20], frames_per_second=10)
    assert answer.faces[0].fine.probabilities == alone.faces[0].fine.probabilities


def test_threads_share_one_predictor(predictor, clips):
    """With and without heat maps, over good and odd files: each gets the answer it has alone."""
    names = ["face.webm", "truncated.webm", "pair.webm"]
    alone = {(name, explain): predictor(clips / name, explain=explain) for name in names for explain in (False, True)}
    answers = {}

    def run(name, explain):
        answers[name, explain] = predictor(clips / name, explain=explain)

    threads = [threading.Thread(target=run, args=key) for key in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key, expected in alone.items():
        assert answers[key].warnings == expected.warnings
        for ours, theirs in zip(answers[key].faces, expected.faces, strict=True):
            assert ours.fine.probabilities == pytest.approx(theirs.fine.probabilities, abs=1e-5)
            assert [frame.box for frame in ours.frames] == [frame.box for frame in theirs.frames]


def test_explaining_works_where_gradients_are_off(predictor, prediction, clips):
    for off in (torch.inference_mode, torch.no_grad):
        with off():
            answer = predictor(clips / "face.webm", explain=True)
        maps = [frame.heat_map for frame in answer.faces[0].frames]
        assert np.allclose(maps, [frame.heat_map for frame in prediction.faces[0].frames], atol=1e-4)


def test_a_predictor_can_be_handed_to_another_process(predictor, clips):
    copy = pickle.loads(pickle.dumps(predictor))
    answer = copy(clips / "short.webm")
    assert answer.to_dict() == predictor(clips / "short.webm").to_dict()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_answers_too(predictor, clips):
    """Torch's threads do not survive a fork: without care, the first large convolution there waits forever."""
    expected = predictor(clips / "short.webm")
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        answer = pool.apply_async(predictor, (clips / "short.webm",), {"explain": True}).get(timeout=120)
    assert answer.faces[0].fine.probabilities == pytest.approx(expected.faces[0].fine.probabilities, abs=1e-4)


def test_the_map_of_a_repeated_frame_is_that_of_the_copy_that_counts_most(clips, detector):
    torch.manual_seed(0)
    config = AenConfig.from_preset("tiny")
    size = {"height": config.image_size, "width": config.image_size}
    processor = dfer_hf.DferVideoProcessor(num_frames=config.num_frames, size=size)
    predictor = dfer_hf.VideoPredictor(
        AenForVideoClassification(config).eval(), processor, name="tiny", detector=detector
    )
    (face,) = predictor(clips / "still.png", explain=True).faces
    assert face.frames[0].heat_map.max() == 1
