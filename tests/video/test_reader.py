import io
import warnings

import av
import numpy as np
import pytest

from dfer_hf.video import (
    CorruptVideoError,
    EmptyVideoError,
    VideoLimits,
    VideoTooLargeError,
    VideoWarning,
    probe,
    read_frames,
)
from tests.shared_data import SHARED_DATA

from . import make_clips as clips

SHARED_CLIPS = SHARED_DATA / "clips"


def read_quietly(path, **options):
    """Read everything; any warning fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return list(read_frames(path, **options))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm", ".ts"])
def test_frames_come_in_order_with_their_times(tmp_path, suffix):
    frames = read_quietly(clips.write_clip(tmp_path / f"clip{suffix}"))
    assert [frame.index for frame in frames] == list(range(30))
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(30))
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(30)])
    assert all(frame.rgb.shape == (48, 64, 3) and frame.rgb.dtype == np.uint8 for frame in frames)
    assert {frame.scale for frame in frames} == {1.0}


def test_frames_are_rgb(tmp_path):
    first = read_quietly(clips.write_clip(tmp_path / "clip.avi"))[0]
    red, green, blue = first.rgb[24, 8]
    assert red > 200
    assert max(green, blue) < 60


def test_rotation_is_applied(tmp_path):
    frames = read_quietly(clips.rotate_mp4(clips.write_clip(tmp_path / "phone.mp4")))
    assert frames[20].rgb.shape == (64, 48, 3)
    # A quarter turn clockwise brings the left half to the top.
    assert frames[20].rgb[8, 24, 0] > 200
    assert frames[20].rgb[8, 24, 1] < 60
    assert frames[20].rgb[56, 24, 1] == pytest.approx(160, abs=12)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_odd_sizes_are_kept(tmp_path, suffix):
    path = clips.write_clip(tmp_path / f"odd{suffix}", width=63, height=47, num_frames=3)
    info = probe(path)
    assert {frame.rgb.shape[:2] for frame in read_quietly(path)} == {(info.height, info.width)}


def test_times_of_variable_frame_rate_are_true(tmp_path):
    times = [0, 17, 60, 101, 119, 400, 433, 500]
    path = clips.set_webm_times(clips.write_clip(tmp_path / "vfr.webm", num_frames=8), times)
    frames = read_quietly(clips.forget_webm_rate_and_duration(path))
    assert [frame.time_seconds for frame in frames] == pytest.approx([time / 1000 for time in times])
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(8))


def test_times_start_at_zero_when_the_container_starts_later(tmp_path):
    path = clips.set_webm_times(clips.write_clip(tmp_path / "late.webm", num_frames=4), [500, 540, 580, 620])
    assert [frame.time_seconds for frame in read_quietly(path)] == pytest.approx([0, 0.04, 0.08, 0.12])


def test_gif_frames_keep_their_own_delays(tmp_path):
    path = clips.write_gif(tmp_path / "clip.gif", [100, 300, 50, 100])
    assert [frame.time_seconds for frame in read_quietly(path)] == pytest.approx([0, 0.1, 0.4, 0.45])


def test_times_of_joined_recordings_go_on(tmp_path):
    first = clips.write_clip(tmp_path / "first.ts", num_frames=5)
    second = clips.write_clip(tmp_path / "second.ts", num_frames=5, frames_per_second=10)
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    times = [frame.time_seconds for frame in read_quietly(tmp_path / "both.ts")]
    assert times[:6] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2])
    assert times == sorted(times)
    assert np.diff(times[6:]) == pytest.approx([0.1] * 3)


def test_times_start_at_zero_when_the_first_frames_are_damaged(tmp_path):
    path = clips.noisy_clip(tmp_path / "scratched.webm")
    path.write_bytes(path.read_bytes().replace(b"\x9d\x01\x2a", bytes(3), 1))
    with pytest.warns(VideoWarning):
        frames = list(read_frames(path))
    assert 0 < len(frames) < 30
    assert frames[0].time_seconds == 0
    assert frames[1].time_seconds == pytest.approx(0.04)


def test_change_of_size_within_a_video_is_survived(tmp_path):
    first, second = (
        clips.write_clip(tmp_path / f"{name}.ts", num_frames=5, width=width, height=height)
        for name, width, height in (("first", 64, 48), ("second", 320, 240))
    )
    for name, parts in {"grow.ts": (first, second), "shrink.ts": (second, first)}.items():
        (tmp_path / name).write_bytes(b"".join(part.read_bytes() for part in parts))
        frames = read_quietly(tmp_path / name)
        assert len({frame.rgb.shape for frame in frames}) == 1
        assert [clips.number_of(frame.rgb) for frame in frames] == [0, 1, 2, 3, 4] * 2


@pytest.mark.parametrize(
    ("suffix", "claim"),
    [(suffix, claim) for suffix in (".avi", ".mp4") for claim in (1, 5, 29, 31, 300, 2**31 - 1)] + [(".avi", 0)],
)
def test_lying_frame_count_changes_nothing(tmp_path, suffix, claim):
    path = clips.write_clip(tmp_path / f"liar{suffix}")
    set_count = clips.set_avi_frame_count if suffix == ".avi" else clips.set_mp4_frame_count
    frames = read_quietly(set_count(path, claim))
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(30))
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(30)])


def test_length_that_the_header_leaves_out_is_measured_before_decoding(tmp_path):
    path = clips.forget_webm_rate_and_duration(clips.write_clip(tmp_path / "endless.webm"))
    with pytest.raises(VideoTooLargeError, match=r"at most 0\.5 seconds, got 'endless\.webm'") as caught:
        read_frames(path, limits=VideoLimits(max_seconds=0.5))
    assert caught.value.limit == "max_seconds"
    clips.set_webm_times(path, list(range(30)))
    with pytest.raises(VideoTooLargeError, match=r"at most 20 frames, got 'endless\.webm'"):
        read_frames(path, limits=VideoLimits(max_seconds=1, max_frames_per_second=20))


def test_reading_stops_at_the_time_limit_that_the_header_hid(tmp_path):
    path = clips.set_webm_duration(clips.write_clip(tmp_path / "endless.webm"), 400)
    seen = []
    with pytest.raises(VideoTooLargeError, match=r"at most 0\.5 seconds, got 'endless\.webm' which goes on"):
        seen.extend(frame.index for frame in read_frames(path, limits=VideoLimits(max_seconds=0.5)))


def test_reading_stops_at_the_frame_limit_that_the_header_hid(tmp_path):
    path = clips.set_webm_duration(clips.write_clip(tmp_path / "dense.webm"), 400)
    clips.set_webm_times(path, list(range(30)))
    frames = read_frames(path, limits=VideoLimits(max_seconds=0.5, max_frames_per_second=40))
    seen = [next(frames).index for _ in range(20)]
    assert seen == list(range(20))
    with pytest.raises(VideoTooLargeError, match="at most 20 frames"):
        next(frames)


def test_limits_hold_for_reading_as_for_probing(tmp_path):
    path = clips.write_clip(tmp_path / "clip.mp4")
    with pytest.raises(VideoTooLargeError):
        read_frames(path, limits=VideoLimits(max_width=32, max_height=32))


@pytest.mark.parametrize("suffix", [".avi", ".webm", ".mkv"])
def test_truncated_file_yields_its_start_and_warns(tmp_path, suffix):
    path = clips.noisy_clip(tmp_path / f"cut{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(VideoWarning, match=rf"'cut\{suffix}'.*file ends before its structure does"):
        frames = list(read_frames(path))
    assert 4 <= len(frames) <= 22


def test_file_much_shorter_than_its_stated_duration_is_warned_of(tmp_path):
    path = clips.set_webm_duration(clips.write_clip(tmp_path / "short.webm"), 5000)
    with pytest.warns(VideoWarning, match="its header says 5 seconds"):
        assert len(list(read_frames(path))) == 30


def test_truncated_streaming_mp4_yields_its_start_and_warns(tmp_path):
    path = clips.move_mp4_index_to_front(clips.noisy_clip(tmp_path / "cut.mp4"))
    assert len(read_quietly(path)) == 30
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 29 // 30])
    with pytest.warns(VideoWarning, match="file ends before its structure does"):
        frames = list(read_frames(path))
    assert 20 <= len(frames) < 30


def test_trimmed_mp4_is_not_taken_for_truncated(tmp_path):
    path = clips.trim_mp4(clips.write_clip(tmp_path / "trimmed.mp4"), 400)
    assert 10 <= len(read_quietly(path)) <= 12


def test_what_was_cut_off_without_encoding_again_is_neither_counted_nor_missed(tmp_path):
    """An edit list leaves the pictures out that are only there to decode the first that is shown."""
    options = {"g": "250", "bf": "2"}
    whole = clips.encode_clip(tmp_path / "whole.mp4", "libx264", num_frames=40, options=options)
    cut = clips.cut_without_encoding(whole, tmp_path / "cut.mp4", frames=15)
    info = probe(cut, limits=VideoLimits(max_seconds=1.1))
    assert info.num_frames == info.num_indexed_frames == 25
    assert info.duration_seconds == pytest.approx(1.0, abs=0.05)
    numbers = [clips.number_of(frame.rgb) for frame in read_quietly(cut)]
    assert numbers == [clips.number_of(frame.rgb) for frame in read_frames(whole)][15:]


def test_truncated_gif_yields_its_start_and_warns(tmp_path):
    path = clips.write_gif(tmp_path / "cut.gif", [100] * 10)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.warns(VideoWarning):
        frames = list(read_frames(path))
    assert 3 <= len(frames) <= 9


def test_damage_in_the_middle_is_skipped_and_warned_of(tmp_path):
    path = clips.noisy_clip(tmp_path / "scratched.mp4")
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    third = (end - start) // 3
    data[start + third : end - third] = bytes(end - third - (start + third))
    path.write_bytes(data)
    with pytest.warns(VideoWarning, match="in between"):
        frames = list(read_frames(path))
    assert 15 <= len(frames) < 30
    assert frames[-1].time_seconds == pytest.approx(29 / 25)
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_damage_at_the_end_is_warned_of(tmp_path):
    path = clips.noisy_clip(tmp_path / "scratched.mp4")
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    half = start + (end - start) // 2
    data[half:end] = bytes(end - half)
    path.write_bytes(data)
    with pytest.warns(VideoWarning, match="its index lists 30 frames"):
        assert 4 <= len(list(read_frames(path))) <= 22


def test_file_without_a_decodable_frame_is_corrupt(tmp_path):
    path = clips.noisy_clip(tmp_path / "noise.webm")
    start_of_key_frame = b"\x9d\x01\x2a"
    path.write_bytes(path.read_bytes().replace(start_of_key_frame, bytes(3)))
    with pytest.raises(CorruptVideoError, match=r"got none from 'noise\.webm'"):
        list(read_frames(path))


def test_errors_of_probing_come_before_the_first_frame_is_asked_for(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(EmptyVideoError):
        read_frames(tmp_path / "empty.mp4")


@pytest.mark.parametrize(
    ("width", "height", "max_side", "shape", "scale"),
    [(64, 48, 32, (24, 32, 3), 2.0), (48, 64, 16, (16, 12, 3), 4.0), (64, 48, 64, (48, 64, 3), 1.0)],
)
def test_max_side_shrinks_and_tells_the_scale(tmp_path, width, height, max_side, shape, scale):
    path = clips.write_clip(tmp_path / "clip.avi", width=width, height=height, num_frames=2)
    for frame in read_quietly(path, max_side=max_side):
        assert frame.rgb.shape == shape
        assert frame.scale == pytest.approx(scale)


def test_max_side_never_enlarges_and_must_be_positive(tmp_path):
    path = clips.write_clip(tmp_path / "clip.avi", num_frames=1)
    assert read_quietly(path, max_side=1000)[0].rgb.shape == (48, 64, 3)
    with pytest.raises(ValueError, match="max_side"):
        read_frames(path, max_side=0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_still_is_one_rgb_frame(tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    path.write_bytes(clips.encode(suffix, clips.numbered_frame(10, 37, 21)))
    (frame,) = read_quietly(path)
    assert (frame.index, frame.time_seconds, frame.rgb.shape) == (0, 0.0, (21, 37, 3))
    assert frame.rgb[10, 4, 0] > 200
    assert frame.rgb[10, 4, 2] < 60
    assert read_quietly(path, max_side=20)[0].scale == pytest.approx(37 / 20)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((21, 37), 40_000, np.uint16),
        np.full((21, 37, 4), 40_000, np.uint16),
        np.full((21, 37, 4), 156, np.uint8),
        np.full((21, 37), 156, np.uint8),
    ],
    ids=["grey 16 bit", "alpha 16 bit", "alpha", "grey"],
)
def test_unusual_stills_become_eight_bit_rgb(tmp_path, pixels):
    path = tmp_path / "face.png"
    path.write_bytes(clips.encode(".png", pixels))
    (frame,) = read_quietly(path)
    assert frame.rgb.dtype == np.uint8
    assert frame.rgb.shape == (21, 37, 3)
    assert np.unique(frame.rgb) == pytest.approx([156], abs=1)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff"])
def test_damaged_still_is_corrupt(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    whole = clips.encode(suffix, noise)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(CorruptVideoError, match="cut"):
        list(read_frames(path))


@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason=f"DFER_SHARED_DATA has no clips folder: {SHARED_DATA.name}")
def test_real_clips_read_with_monotone_times():
    paths = sorted(path for path in SHARED_CLIPS.iterdir() if path.suffix in {".mkv", ".mp4", ".mov", ".gif"})
    assert paths
    for path in paths:
        times = [frame.time_seconds for frame in read_quietly(path, max_side=160)]
        assert times, path.name
        assert times[0] == 0
        assert times == sorted(times), path.name


@pytest.mark.parametrize("kind", ["path", "bytes", "stream"])
def test_ffmpeg_reads_without_python(tmp_path, monkeypatch, kind):
    path = clips.write_clip(tmp_path / "clip.mp4")
    opened, real_open = [], av.open

    def remember(file, *arguments, **options):
        opened.append(file)
        return real_open(file, *arguments, **options)

    monkeypatch.setattr(av, "open", remember)
    data = path.read_bytes()
    source = {"path": path, "bytes": data, "stream": io.BytesIO(data)}[kind]
    assert [clips.number_of(frame.rgb) for frame in read_frames(source)] == list(range(clips.NUM_FRAMES))
    assert set(opened) == {"fd:"}
