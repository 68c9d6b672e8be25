import os
import subprocess
import sys

import av
import numpy as np
import pytest

from dfer_hf.video import (
    FrameSpool,
    UnsupportedSuffixError,
    VideoError,
    VideoWriteError,
    VideoWriter,
    probe,
    read_frames,
    write_video,
)

from . import make_clips as clips


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "vp9"), (".mp4", "h264")])
def test_written_video_reads_back(tmp_path, suffix, codec):
    path = tmp_path / f"out{suffix}"
    write_video(path, (clips.numbered_frame(index) for index in range(12)), frames_per_second=12.5)
    info = probe(path)
    frames = list(read_frames(path))
    assert (info.width, info.height, info.codec) == (64, 48, codec)
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


@pytest.mark.parametrize("name", ["out.mov", "out", "out.webm.avi"])
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


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_frames_that_end_in_an_error_leave_what_was_there(tmp_path, error):
    def broken_frames():
        yield clips.numbered_frame(0)
        raise error("from the caller")

    path = tmp_path / "out.webm"
    path.write_bytes(b"older")
    with pytest.raises(error):
        write_video(path, broken_frames(), frames_per_second=25)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_name_is_never_taken_for_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video("pipe:1.webm", [clips.numbered_frame(0)], frames_per_second=25)
    assert (tmp_path / "pipe:1.webm").stat().st_size > 0


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_frames_keep_the_times_they_are_given(tmp_path, suffix):
    times = [0.0, 0.1, 0.4, 0.45, 2.0, 2.0]
    with VideoWriter(tmp_path / f"out{suffix}", frames_per_second=25) as writer:
        for index, seconds in enumerate(times):
            writer.write(clips.numbered_frame(index), seconds)
    frames = list(read_frames(tmp_path / f"out{suffix}"))
    assert [frame.time_seconds for frame in frames] == pytest.approx(times, abs=0.002)
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(6))


@pytest.mark.parametrize("height", [48, 720])
@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_colours_survive_writing_and_reading(tmp_path, suffix, height):
    colours = np.array([[200, 40, 60], [40, 190, 70], [50, 60, 210], [128, 128, 128]], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 32, axis=1), height, axis=0)
    write_video(tmp_path / f"out{suffix}", [picture] * 2, frames_per_second=25)
    read = next(iter(read_frames(tmp_path / f"out{suffix}"))).rgb[height // 2, 16::32].astype(int)
    assert np.abs(read - colours).max() < 10


def test_mp4_can_be_played_while_it_loads(tmp_path):
    write_video(tmp_path / "out.mp4", [clips.numbered_frame(0)] * 5, frames_per_second=25)
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("source", [".mp4", ".webm", ".mkv", ".ts", ".avi"])
@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "opus"), (".mp4", "aac")])
def test_sound_of_the_clip_is_kept(tmp_path, source, suffix, codec):
    clip = clips.write_clip_with_sound(tmp_path / f"in{source}", seconds=2.0)
    write_video(tmp_path / f"out{suffix}", [clips.numbered_frame(1)] * 50, frames_per_second=25, sound=clip)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        (sound,) = container.streams.audio
        assert sound.codec_context.codec.canonical_name in (codec, "mp3")
        frames = list(container.decode(sound))
    assert frames[0].time == pytest.approx(0, abs=0.05)
    assert sum(frame.samples / frame.sample_rate for frame in frames) == pytest.approx(2, abs=0.1)
    loudness = np.mean([np.abs(frame.to_ndarray().astype(float)).mean() for frame in frames])
    assert loudness > 0.05
    assert len(list(read_frames(tmp_path / f"out{suffix}"))) == 50


@pytest.mark.parametrize("sound", [b"", b"no sound here", clips.encode(".png", clips.numbered_frame(0)), "absent.mp4"])
def test_sound_that_cannot_be_read_costs_nothing(tmp_path, sound):
    write_video(tmp_path / "out.webm", [clips.numbered_frame(0)] * 3, frames_per_second=25, sound=sound)
    with av.open(str(tmp_path / "out.webm")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_damaged_sound_does_not_cost_the_pictures(tmp_path):
    clip = clips.write_clip_with_sound(tmp_path / "in.mkv", seconds=2.0)
    data = bytearray(clip.read_bytes())
    generator = np.random.default_rng(0)
    for position in generator.integers(2000, len(data), 400):
        data[position] = generator.integers(256)
    write_video(tmp_path / "out.webm", [clips.numbered_frame(0)] * 50, frames_per_second=25, sound=bytes(data))
    assert len(list(read_frames(tmp_path / "out.webm"))) == 50


@pytest.mark.skipif(sys.platform == "win32", reason="this system sets no limit on the size of files")
def test_full_disk_is_an_error_and_leaves_no_file(tmp_path):
    script = f"""
import os, resource, sys, numpy as np
from dfer_hf.video import VideoWriteError, write_video
frames = np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), dtype=np.uint8)
for room in (20_000, 300, 0):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, 20_000))
    for name in ("out.webm", "out.mp4"):
        try:
            write_video(os.path.join({str(tmp_path)!r}, name), frames, frames_per_second=25)
        except VideoWriteError as error:
            assert name in str(error), error
        else:
            sys.exit(f"no error for {{name}} with {{room}} bytes")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["o" * 300 + ".webm", "no/out.webm"])
def test_name_that_cannot_be_is_an_error_and_leaves_no_file(tmp_path, name):
    with pytest.raises(VideoWriteError, match="check that"):
        write_video(tmp_path / name, [clips.numbered_frame(0)], frames_per_second=25)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only under Linux")
def test_name_of_any_bytes_is_written_and_read(tmp_path):
    for name in (os.fsdecode(b"caf\xe9.webm"), "o" * 250 + ".webm"):
        write_video(tmp_path / name, [clips.numbered_frame(0)] * 2, frames_per_second=25)
        assert probe(tmp_path / name).num_frames == 2
    write_video(os.fsencode(tmp_path) + b"/caf\xe8.mp4", [clips.numbered_frame(0)] * 2, frames_per_second=25)
    assert len(list(tmp_path.iterdir())) == 3


def test_file_that_is_there_is_replaced_only_when_the_new_one_is_complete(tmp_path):
    path = clips.write_clip(tmp_path / "out.webm")
    old = path.read_bytes()
    with VideoWriter(path, frames_per_second=25, sound=path) as writer:
        for frame in read_frames(path):
            writer.write(frame.rgb, frame.time_seconds)
            assert path.read_bytes() == old
    assert path.read_bytes() != old
    assert len(list(read_frames(path))) == 30
    assert [file.name for file in tmp_path.iterdir()] == ["out.webm"]


def test_spool_gives_back_what_was_kept(tmp_path):
    path = clips.write_clip(tmp_path / "clip.avi", width=64, height=48)
    with FrameSpool(max_side=32) as spool:
        kept = list(read_frames(path, max_side=48))
        for frame in kept:
            spool.add(frame)
        for _ in range(2):
            frames = list(spool)
            assert [clips.number_of(frame.rgb) for frame in frames] == list(range(30))
            assert [frame.time_seconds for frame in frames] == [frame.time_seconds for frame in kept]
            assert {frame.rgb.shape for frame in frames} == {(24, 32, 3)}
            assert {frame.scale for frame in frames} == {2.0}
            assert frames[0].rgb[12, 4, 0] > 200
            assert frames[0].rgb[12, 4, 2] < 60


def test_write_errors_are_video_errors():
    assert issubclass(UnsupportedSuffixError, VideoWriteError)
    assert issubclass(VideoWriteError, VideoError)
    assert issubclass(VideoError, ValueError)
