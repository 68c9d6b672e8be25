import itertools
import json
import threading

import numpy as np
import pytest
import torch

from dfer_hf import DferVideoProcessor, VideoPredictor
from dfer_hf.faces import Detection, NoFaceFoundError
from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.configuration_cfc_sp import CfcSpConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from dfer_hf.video import (
    EmptyVideoError,
    NotAVideoError,
    VideoLimits,
    VideoNotFoundError,
    VideoTooLargeError,
    read_frames,
)

WINDOW_SECONDS = 1.0


class FixedDetector:
    """Finds one face at a fixed place, except in pictures with a white corner."""

    settings = {"detector": "fixed"}

    def detect(self, images):
        points = np.array([(60.0, 50), (90, 50), (75, 65), (63, 85), (87, 85)])
        face = Detection((40.0, 20.0, 110.0, 110.0), points, 0.99)
        return [[] if image[:16, :16].mean() > 250 else [face] for image in images]


@pytest.fixture(scope="module")
def quick(tiny_model):
    """A predictor with windows of one second that spends no time on detection."""
    processor = DferVideoProcessor(window_seconds=WINDOW_SECONDS)
    return VideoPredictor(tiny_model, processor, name="quick", detector=FixedDetector())


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory, write_clip, scene):
    """Eight seconds of ten frames."""
    return write_clip(tmp_path_factory.mktemp("long") / "long.webm", (scene(20 + i % 7) for i in range(80)))


@pytest.fixture
def forwards(tiny_model):
    """Clips and frames of every call of the tiny model."""
    shapes = []

    def note(_module, _arguments, inputs):
        shapes.append(tuple(inputs["pixel_values_videos"].shape[:2]))

    hook = tiny_model.register_forward_pre_hook(note, with_kwargs=True)
    yield shapes
    hook.remove()


def test_answers_every_frame_once_and_in_order(prediction):
    (face,) = prediction.faces
    assert prediction.num_frames == 24
    assert [frame.frame_index for frame in face.frames] == list(range(24))
    times = [frame.time_seconds for frame in face.frames]
    assert times == pytest.approx([index / 10 for index in range(24)], abs=0.01)
    assert prediction.duration_seconds == pytest.approx(2.4, abs=0.05)
    assert prediction.frames_per_second == pytest.approx(10, abs=0.1)
    assert face.coverage == 1
    assert not prediction.warnings


def test_probabilities_are_finite_and_sum_to_one(prediction, tiny_model):
    (face,) = prediction.faces
    assert set(face.fine.probabilities) == set(tiny_model.config.label2id)
    assert list(face.coarse.probabilities) == tiny_model.config.group_names
    for answer in (face, *face.frames):
        for scores in (answer.fine, answer.coarse):
            assert all(0 <= value <= 1 for value in scores.probabilities.values())
            assert sum(scores.probabilities.values()) == pytest.approx(1, abs=1e-4)
    json.dumps(prediction.to_dict(), allow_nan=False)


def test_weights_of_a_face_sum_to_one_over_the_frames_that_evaluation_picks(prediction, quick, long_clip):
    for answer in (prediction, quick(long_clip)):
        for face in answer.faces:
            assert sum(frame.weight for frame in face.frames) == pytest.approx(1, abs=1e-4)
            assert all(frame.weight >= 0 for frame in face.frames)
    picked = DferVideoProcessor().sampling.indices(24)
    assert [frame.frame_index for frame in prediction.faces[0].frames if frame.weight] == picked.tolist()


def test_the_face_is_the_weighted_mean_of_its_frames(long_clip, quick):
    (face,) = quick(long_clip).faces
    for label, probability in face.fine.probabilities.items():
        mean = sum(frame.weight * frame.fine.probabilities[label] for frame in face.frames)
        assert probability == pytest.approx(mean, abs=1e-4)


def test_the_box_follows_the_face(prediction):
    first, last = prediction.faces[0].frames[0].box, prediction.faces[0].frames[-1].box
    # The portrait moves 23 pixels to the right.
    assert 15 < last[0] - first[0] < 31
    assert abs(last[1] - first[1]) < 8


def test_an_answer_belongs_to_the_frame_it_stands_at(tmp_path, write_clip, tiny_model, quick):
    levels = (60, 180)
    shown = [0] * 13 + [1] * 5 + [0] * 5
    pictures = [np.full((120, 160, 3), levels[which], dtype=np.uint8) for which in shown]
    # Beside the face it stays as it is, as it does within one shot.
    for picture in pictures:
        picture[:60, :24] = picture[:60, 132:] = 240
        picture[60:, :24] = picture[60:, 132:] = 0
    (face,) = quick(write_clip(tmp_path / "steps.webm", pictures)).faces
    expected = []
    for level in levels:
        pixel_values = torch.full((1, 16, 3, 112, 112), (level / 255 - 0.5) / 0.25)
        with torch.inference_mode():
            expected.append(tiny_model(pixel_values_videos=pixel_values).frame_logits.softmax(dim=-1)[0, 0])
    apart = float((expected[0] - expected[1]).abs().max())
    assert apart > 0.01
    for frame, which in zip(face.frames, shown, strict=True):
        assert list(frame.fine.probabilities.values()) == pytest.approx(expected[which].tolist(), abs=apart / 3)


def test_short_windows_take_one_clip_each(quick, long_clip, forwards):
    quick(long_clip)
    assert {length for _, length in forwards} == {16}
    num_clips = sum(clips for clips, _ in forwards)
    # 80 frames are seven windows of ten and the rest; a window of ten is one clip that repeats six of its frames.
    assert num_clips == 8


def test_frames_are_not_repeated_where_they_fill_clips(tiny_model, forwards, tmp_path, write_clip, scene):
    clip = write_clip(tmp_path / "clip.webm", [scene(20)] * 32)
    predictor = VideoPredictor(tiny_model, DferVideoProcessor(), name="tiny", detector=FixedDetector())
    predictor(clip)
    assert sum(clips * length for clips, length in forwards) == 32


@pytest.mark.parametrize("runs", [(16, 1), (8, 2), (4, 4)])
def test_about_fifteen_frames_a_second_are_looked_at_however_they_are_sampled(tiny_model, forwards, scene, runs):
    processor = DferVideoProcessor(num_segments=runs[0], frames_per_segment=runs[1])
    predictor = VideoPredictor(tiny_model, processor, name="tiny", detector=FixedDetector())
    (face,) = predictor([scene(20)] * 180, frames_per_second=30).faces
    # Six seconds, and the last clip may be half too much.
    assert sum(clips * length for clips, length in forwards) <= 6 * 15 + 8
    looked_at = [frame.frame_index for frame in face.frames if not frame.is_interpolated]
    assert len(looked_at) > 6 * 12
    assert np.diff(looked_at).max() <= 2 + runs[1]


def test_crops_that_wait_never_exceed_two_windows(quick, long_clip, monkeypatch):
    readers = []
    new_reader = quick.new_reader

    def watch(**options):
        reader = new_reader(**options)
        answer, reader.most = reader.answer_waiting, 0

        def note():
            reader.most = max(reader.most, len(reader.waiting))
            answer()

        monkeypatch.setattr(reader, "answer_waiting", note)
        readers.append(reader)
        return reader

    monkeypatch.setattr(quick, "new_reader", watch)
    quick(long_clip)
    assert 10 < readers[0].most <= 2 * 10 * WINDOW_SECONDS + 1


def test_windows_do_not_change_what_is_said_of_a_frame(quick, tiny_model, long_clip):
    whole = VideoPredictor(tiny_model, DferVideoProcessor(window_seconds=60.0), name="whole", detector=FixedDetector())
    ours, theirs = quick(long_clip).faces[0].frames, whole(long_clip).faces[0].frames
    for one, other in zip(ours, theirs, strict=True):
        assert one.fine.probabilities == pytest.approx(other.fine.probabilities, abs=1e-4)


def test_a_gap_is_kept_without_scores(tmp_path, write_clip, scene, quick):
    seen, hidden = scene(20), scene(20)
    hidden[:24, :24] = 255
    prediction = quick(write_clip(tmp_path / "gap.webm", [seen] * 10 + [hidden] * 12 + [seen] * 10))
    (face,) = prediction.faces
    assert [frame.frame_index for frame in face.frames] == list(range(32))
    lost = [frame for frame in face.frames if frame.box is None]
    # A face is held for a moment before and after it is seen.
    assert 8 <= len(lost) <= 14
    assert all(9 <= frame.frame_index < 23 for frame in lost)
    for frame in lost:
        assert frame.fine is frame.coarse is frame.heat_map is None
        assert frame.weight == 0
        assert frame.time_seconds == pytest.approx(frame.frame_index / 10, abs=0.01)
    assert face.coverage == pytest.approx(1 - len(lost) / 32)
    assert all(frame.fine is not None for frame in face.frames if frame.box is not None)


def test_a_clip_shorter_than_the_model_wants(predictor, clips):
    (face,) = predictor(clips / "short.webm").faces
    assert [frame.frame_index for frame in face.frames] == list(range(5))
    assert all(frame.fine is not None for frame in face.frames)


def test_a_still_is_a_clip_of_one_frame(predictor, clips):
    prediction = predictor(clips / "still.png", explain=True)
    (face,) = prediction.faces
    (frame,) = face.frames
    assert (prediction.num_frames, prediction.duration_seconds, frame.time_seconds) == (1, 0.0, 0.0)
    assert frame.weight == pytest.approx(1, abs=1e-4)
    assert face.fine.probabilities == pytest.approx(frame.fine.probabilities, abs=1e-4)
    assert frame.heat_map is not None


def test_every_person_has_an_answer(predictor, clips):
    faces = predictor(clips / "pair.webm").faces
    assert sorted(face.track_id for face in faces) == [0, 1]
    lefts = sorted(face.frames[0].box[0] for face in faces)
    assert lefts[1] - lefts[0] > 100
    for face in faces:
        assert len(face.frames) == 6
        assert sum(frame.weight for frame in face.frames) == pytest.approx(1, abs=1e-4)


def test_no_face_is_an_error_that_names_the_file(predictor, clips):
    with pytest.raises(NoFaceFoundError, match=r"faceless\.webm.* 6 frames"):
        predictor(clips / "faceless.webm")


@pytest.mark.parametrize(
    ("name", "error"),
    [("empty.mp4", EmptyVideoError), ("text.mp4", NotAVideoError), ("absent.mp4", VideoNotFoundError)],
)
def test_a_bad_file_is_an_error_by_its_name(predictor, clips, name, error):
    with pytest.raises(error, match=name):
        predictor(clips / name)


def test_a_clip_over_a_limit_is_refused_before_anything_runs(quick, long_clip, forwards):
    with pytest.raises(VideoTooLargeError, match="seconds"):
        quick(long_clip, limits=VideoLimits(max_seconds=2.0))
    assert not forwards


def test_a_truncated_file_is_answered_with_a_warning(predictor, clips):
    prediction = predictor(clips / "truncated.webm")
    assert 0 < prediction.num_frames < 24
    assert any("truncated.webm" in warning for warning in prediction.warnings)


def test_no_reader_is_left_behind(predictor, clips):
    with pytest.raises(NoFaceFoundError):
        predictor(clips / "faceless.webm")
    predictor(clips / "short.webm")
    assert not [thread for thread in threading.enumerate() if thread.name == "dfer-reader"]


def test_heat_maps_are_between_zero_and_one(prediction):
    maps = np.stack([frame.heat_map for frame in prediction.faces[0].frames])
    assert maps.ndim == 3
    assert np.isfinite(maps).all()
    assert (maps.min(), maps.max()) >= (0, 0.99)
    assert maps.max() <= 1


def test_explaining_does_not_change_the_answer(predictor, prediction, clips):
    plain = predictor(clips / "face.webm")
    assert all(frame.heat_map is None for frame in plain.faces[0].frames)
    for one, other in zip(plain.faces[0].frames, prediction.faces[0].frames, strict=True):
        assert one.box == other.box
        assert one.fine.probabilities == pytest.approx(other.fine.probabilities, abs=1e-5)


def test_progress_rises_to_one(quick, long_clip, scene):
    for source in (long_clip, (scene(20) for _ in range(40))):
        shares = []
        quick(source, frames_per_second=10, progress=shares.append)
        assert len(shares) > 1
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_a_system_that_sees_every_frame_answers_a_few_at_a_time(monkeypatch, scene):
    model = CfcSpForVideoClassification(CfcSpConfig.from_preset("tiny")).eval()
    side = model.config.image_size
    processor = DferVideoProcessor(size={"height": side, "width": side}, every_frame=True)
    every = VideoPredictor(model, processor, name="every", detector=FixedDetector())
    counts, encode = [], every.engine.encode
    monkeypatch.setattr(every.engine, "encode", lambda crops: counts.append(len(crops)) or encode(crops))
    every([scene(20)] * 20, frames_per_second=10)
    assert counts == [8, 8, 4]


def test_a_processor_that_shows_every_frame_to_a_system_of_a_fixed_number_is_refused(scene):
    model = AenForVideoClassification(AenConfig.from_preset("tiny"))
    side = model.config.image_size
    processor = DferVideoProcessor(size={"height": side, "width": side}, every_frame=True)
    wrong = VideoPredictor(model, processor, name="wrong", detector=FixedDetector())
    with pytest.raises(ValueError, match=r"Expected a system that takes any number of frames, got .*own processor"):
        wrong([scene(20)] * 4, frames_per_second=10)


def test_progress_may_stop_a_video_of_unknown_length(quick, scene):
    class StoppedError(Exception):
        pass

    def stop(_share):
        raise StoppedError

    endless = itertools.repeat(scene(20))
    with pytest.raises(StoppedError):
        quick(endless, frames_per_second=10, progress=stop)
    assert not [thread for thread in threading.enumerate() if thread.name == "dfer-reader"]


def test_settings_say_how_faces_were_found(prediction):
    settings = json.loads(json.dumps(prediction.settings))
    assert settings["alignment"] == "arcface_112"
    assert settings["detector"]["min_face_pixels"] == 40


def test_names_come_from_the_checkpoint(prediction):
    assert (prediction.model, prediction.source) == ("tiny", "face.webm")


def test_an_unknown_checkpoint_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown model 'no-such'.*dfer-"):
        VideoPredictor.from_pretrained("no-such")


def test_faces_aligned_otherwise_are_refused(tiny_model):
    with pytest.raises(ValueError, match="arcface_112"):
        VideoPredictor(tiny_model, DferVideoProcessor(alignment="openface"), name="other")


def test_a_dark_face_is_brightened_where_the_checkpoint_wants_it(tiny_model, clips, detector):
    lit, plain = (
        VideoPredictor(tiny_model, DferVideoProcessor(low_light=low_light), name="tiny", detector=detector)
        for low_light in (True, False)
    )
    dark = [(frame.rgb // 3) for frame in read_frames(clips / "short.webm")]
    (bright_face,), (dark_face,) = (predictor(dark, frames_per_second=10).faces for predictor in (lit, plain))
    assert "low_light" in lit.settings
    assert bright_face.fine.probabilities != pytest.approx(dark_face.fine.probabilities, abs=1e-3)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_video_that_lies_is_turned_and_says_so(predictor, prediction, clips, turns):
    frames = [np.rot90(frame.rgb, turns) for frame in read_frames(clips / "face.webm")]
    answer = predictor(frames, frames_per_second=10, explain=True)
    assert any(f"turned by {90 * turns} degrees" in warning for warning in answer.warnings)
    (face,), (upright,) = answer.faces, prediction.faces
    assert face.fine.probabilities == pytest.approx(upright.fine.probabilities, abs=0.02)
    # Box and points are given in the picture that lies.
    height, width = frames[0].shape[:2]
    for frame in face.frames:
        left, top, right, bottom = frame.box
        assert -20 < left < right < width + 20
        assert -20 < top < bottom < height + 20
        assert left < frame.points[:, 0].min() <= frame.points[:, 0].max() < right


@pytest.mark.gpu
def test_a_gpu_gives_the_answer_of_the_cpu(tiny_checkpoint, detector, prediction, clips):
    on_gpu = VideoPredictor.from_pretrained(tiny_checkpoint, device="cuda", detector=detector)
    face = on_gpu(clips / "face.webm").faces[0]
    assert face.fine.probabilities == pytest.approx(prediction.faces[0].fine.probabilities, abs=1e-2)
