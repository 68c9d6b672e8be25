import numpy as np
import pytest

from dfer_hf.video import (
    UnsupportedSuffixError,
    VideoError,
    VideoWriteError,
    VideoWriter,
    probe,
    read_frames,
    write_video,
)

from . import make_clips as clips


def test_written_video_reads_back(tmp_path):
    path = tmp_path / "out.webm"
    write_video(path, (clips.numbered_frame(index) for index in range(12)), frames_per_second=12.5)
    info = probe(path)
    frames = list(read_frames(path))
    assert (info.width, info.height, info.codec) == (64, 48, "VP80")
    assert info.frames_per_second == pytest.approx(12.5)
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(12))
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 12.5 for index in range(12)])
    assert frames[0].rgb[24, 8, 0] > 200
    assert frames[0].rgb[24, 8, 2] < 60


@pytest.mark.parametrize(("width", "height"), [(63, 47), (63, 48), (64, 47), (5, 5)])
def test_odd_sizes_are_padded_to_even(tmp_path, width, height):
    write_video(tmp_path / "odd.webm", [clips.numbered_frame(20, width, height)] * 3, frames_per_second=25)
    frames = list(read_frames(tmp_path / "odd.webm"))
    assert len(frames) == 3
    assert frames[0].rgb.shape == (height + height % 2, width + width % 2, 3)
    assert frames[0].rgb[-1, -1] == pytest.approx([160] * 3, abs=12)


@pytest.mark.parametrize("name", ["out.mp4", "out", "out.webm.avi"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(UnsupportedSuffixError, match=r"\.webm"):
        VideoWriter(tmp_path / name, frames_per_second=25)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_impossible_frame_rates_are_refused(tmp_path, rate):
    with pytest.raises(ValueError, match="frames_per_second"):
        VideoWriter(tmp_path / "out.webm", frames_per_second=rate)


def test_frame_of_another_size_is_refused_and_the_rest_is_kept(tmp_path):
    with VideoWriter(tmp_path / "out.webm", frames_per_second=25) as writer:
        writer.write(clips.numbered_frame(0))
        with pytest.raises(ValueError, match=r"\(48, 64, 3\), got \(48, 62, 3\)"):
            writer.write(clips.numbered_frame(1, 62))
        writer.write(clips.numbered_frame(2))
    assert len(list(read_frames(tmp_path / "out.webm"))) == 2


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((48, 64, 3)),
        np.zeros((2, 2, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(tmp_path, frame):
    with (
        VideoWriter(tmp_path / "out.webm", frames_per_second=25) as writer,
        pytest.raises(ValueError, match="RGB frame"),
    ):
        writer.write(frame)


def test_folder_that_does_not_exist_is_named(tmp_path):
    with (
        VideoWriter(tmp_path / "no" / "out.webm", frames_per_second=25) as writer,
        pytest.raises(VideoWriteError, match=r"'out\.webm'"),
    ):
        writer.write(clips.numbered_frame(0))


def test_video_without_frames_is_refused(tmp_path):
    with pytest.raises(VideoWriteError, match="at least one frame"):
        write_video(tmp_path / "out.webm", [], frames_per_second=25)


def test_file_is_complete_when_the_frames_end_in_an_error(tmp_path):
    def broken_frames():
        yield clips.numbered_frame(0)
        raise KeyError("from the caller")

    with pytest.raises(KeyError):
        write_video(tmp_path / "out.webm", broken_frames(), frames_per_second=25)
    assert len(list(read_frames(tmp_path / "out.webm"))) == 1


def test_name_is_never_taken_for_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video("pipe:1.webm", [clips.numbered_frame(0)], frames_per_second=25)
    assert (tmp_path / "pipe:1.webm").stat().st_size > 0


def test_write_errors_are_video_errors():
    assert issubclass(UnsupportedSuffixError, VideoWriteError)
    assert issubclass(VideoWriteError, VideoError)
    assert issubclass(VideoError, ValueError)
