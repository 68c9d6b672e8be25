import contextlib
import dataclasses
import os
import struct
import sys

import cv2
import numpy as np
import pytest
from PIL import AvifImagePlugin, ImageFile, WebPImagePlugin

from dfer_hf.video import (
    AudioOnlyError,
    CorruptVideoError,
    EmptyVideoError,
    NotAVideoError,
    VideoError,
    VideoLimits,
    VideoNotFoundError,
    VideoTooLargeError,
    probe,
    read_frames,
)

from . import make_clips as clips


@pytest.fixture
def no_decoder(monkeypatch):
    """Decoding any frame or picture is an error."""

    def refuse(*_arguments):
        raise AssertionError("the file was handed to a decoder")

    # The package shows the function of this name instead of the module.
    monkeypatch.setattr(sys.modules["dfer_hf.video.probe"], "first_frame", refuse)
    for picture in (ImageFile.ImageFile, WebPImagePlugin.WebPImageFile, AvifImagePlugin.AvifImageFile):
        monkeypatch.setattr(picture, "load", refuse)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm"])
def test_header_of_a_video_is_read(tmp_path, suffix):
    path = clips.write_clip(tmp_path / f"clip{suffix}")
    info = probe(path)
    assert (info.width, info.height) == (64, 48)
    assert info.num_frames == 30
    assert info.duration_seconds == pytest.approx(1.2)
    assert info.frames_per_second == pytest.approx(25)
    assert info.size_bytes == path.stat().st_size
    assert info.path == path
    assert not info.is_still
    assert not info.ends_early
    assert info.codec == {".avi": "mjpeg", ".webm": "vp8"}.get(suffix, "mpeg4")
    assert info.name == repr(path.name)


def test_a_path_may_be_a_string(tmp_path):
    assert probe(str(clips.write_clip(tmp_path / "clip.mp4"))).num_frames == 30


def test_size_of_a_rotated_clip_is_as_shown(tmp_path):
    info = probe(clips.rotate_mp4(clips.write_clip(tmp_path / "phone.mp4")))
    assert (info.width, info.height) == (48, 64)


def test_gif_is_a_video(tmp_path):
    info = probe(clips.write_gif(tmp_path / "clip.gif", [100] * 5))
    assert (info.num_frames, info.is_still) == (5, False)
    assert info.duration_seconds == pytest.approx(0.5, rel=0.3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.usefixtures("no_decoder")
def test_size_of_a_still_is_read_without_decoding(tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    path.write_bytes(clips.encode(suffix, clips.numbered_frame(3, 37, 21)))
    info = probe(path)
    assert (info.width, info.height, info.num_frames, info.is_still) == (37, 21, 1, True)


@pytest.mark.usefixtures("no_decoder")
def test_size_of_a_lossy_webp_is_read_without_decoding(tmp_path):
    encoded, data = cv2.imencode(".webp", clips.numbered_frame(3, 37, 21), [cv2.IMWRITE_WEBP_QUALITY, 80])
    assert encoded
    (tmp_path / "face.webp").write_bytes(data.tobytes())
    info = probe(tmp_path / "face.webp")
    assert (info.width, info.height) == (37, 21)


@pytest.mark.parametrize("make", [clips.sideways_jpeg, clips.sideways_png, clips.sideways_webp])
def test_size_of_a_sideways_still_is_as_shown(tmp_path, make):
    path = tmp_path / "phone"
    path.write_bytes(make(clips.numbered_frame(3, 40, 20)))
    info = probe(path)
    assert (info.width, info.height) == (20, 40)
    assert next(read_frames(path)).rgb.shape == (40, 20, 3)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(VideoNotFoundError, match=r"'no\.mp4'.*check the path"):
        probe(tmp_path / "no.mp4")


@pytest.mark.parametrize("address", ["http://localhost:1/clip.mp4", "rtsp://localhost:1/x", "file:clip.mp4", "a\0b"])
@pytest.mark.usefixtures("no_decoder")
def test_addresses_are_never_opened(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    clips_path = tmp_path / "clip.mp4"
    clips_path.write_bytes(b"\0\0\0\x08ftyp")
    with pytest.raises(VideoNotFoundError):
        probe(address)


def test_empty_file_is_named(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(EmptyVideoError, match=r"'empty\.mp4' with 0 bytes"):
        probe(tmp_path / "empty.mp4")


def test_folder_is_refused(tmp_path):
    with pytest.raises(NotAVideoError, match="no regular file"):
        probe(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_is_refused_without_waiting_on_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(NotAVideoError, match="no regular file"):
        probe(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is no video",
        b"#EXTM3U\n#EXTINF:1,\nclip.mp4\n",
        b"ffconcat version 1.0\nfile clip.mp4\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 1234 RTP/AVP 96\n",
        b'<?xml version="1.0"?><MPD><BaseURL>clip.mp4</BaseURL></MPD>',
        b"PK\x03\x04 a zip archive, renamed",
        b"\0\0\0\x18ftypheic\0\0\0\0",
        b"BM, said the man",
        b"x",
    ],
)
@pytest.mark.usefixtures("no_decoder")
def test_other_files_and_playlists_are_refused_whatever_their_name(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(NotAVideoError, match=r"'clip\.mp4' which starts like none"):
        probe(path)


def test_image_sequence_pattern_is_an_ordinary_name(tmp_path):
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"img_{index:02d}.png"), clips.numbered_frame(index))
    with pytest.raises(VideoNotFoundError):
        probe(tmp_path / "img_%02d.png")
    clips.write_clip(tmp_path / "clip.avi", num_frames=5).rename(tmp_path / "img_%02d.jpg")
    assert probe(tmp_path / "img_%02d.jpg").num_frames == 5


def test_sound_files_are_named(tmp_path):
    (tmp_path / "voice.wav").write_bytes(clips.wav())
    with pytest.raises(AudioOnlyError, match="sound but no pictures"):
        probe(tmp_path / "voice.wav")


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".avi", ".ogg", ".wmv", ".mp3", ".flac"])
@pytest.mark.usefixtures("no_decoder")
def test_files_with_only_sound_are_named(tmp_path, suffix):
    path = clips.write_sound(tmp_path / f"voice{suffix}")
    with pytest.raises(AudioOnlyError, match=rf"'voice\{suffix}' with sound but no pictures"):
        probe(path)


@pytest.mark.usefixtures("no_decoder")
def test_mp4_whose_only_track_claims_to_be_sound_is_named(tmp_path):
    path = clips.patch(clips.noisy_clip(tmp_path / "voice.mp4"), b"hdlr", 8, b"soun")
    with pytest.raises(AudioOnlyError):
        probe(path)


@pytest.mark.usefixtures("no_decoder")
def test_avi_whose_only_stream_claims_to_be_sound_is_named(tmp_path):
    path = clips.patch(clips.write_clip(tmp_path / "voice.avi"), b"strh", 4, b"auds")
    with pytest.raises(AudioOnlyError):
        probe(path)


@pytest.mark.usefixtures("no_decoder")
def test_file_over_the_byte_limit_is_refused(tmp_path):
    path = clips.write_clip(tmp_path / "clip.mp4")
    with pytest.raises(VideoTooLargeError, match="at most 100 bytes"):
        probe(path, limits=VideoLimits(max_bytes=100))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".avi", ".mkv"])
def test_eight_thousand_pixels_are_refused_before_a_frame_is_decoded(tmp_path, request, suffix):
    path = clips.write_clip(tmp_path / f"bomb{suffix}", num_frames=1, width=7680, height=4320)
    request.getfixturevalue("no_decoder")
    with pytest.raises(VideoTooLargeError, match="with 7680"):
        probe(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.usefixtures("no_decoder")
def test_still_over_the_limits_is_refused_before_decoding(tmp_path, suffix):
    path = tmp_path / f"big{suffix}"
    path.write_bytes(clips.encode(suffix, np.zeros((30, 5000, 3), np.uint8)))
    with pytest.raises(VideoTooLargeError, match="with 5000"):
        probe(path)
    with pytest.raises(VideoTooLargeError, match="at most 20 pixels high"):
        probe(path, limits=VideoLimits(max_width=None, max_height=20))


@pytest.mark.usefixtures("no_decoder")
def test_png_bomb_is_refused_before_decoding(tmp_path):
    (tmp_path / "bomb.png").write_bytes(clips.png_bomb(100_000, 100_000))
    with pytest.raises(VideoTooLargeError, match="with 100000"):
        probe(tmp_path / "bomb.png")


def test_ten_hours_are_refused(tmp_path):
    path = clips.set_mp4_frame_ticks(clips.write_clip(tmp_path / "long.mp4"), 12800 * 1200)
    clips.trim_mp4(path, 36_000_000)
    with pytest.raises(VideoTooLargeError, match=r"at most 600 seconds, got 'long\.mp4' with 36000"):
        probe(path)


@pytest.mark.usefixtures("no_decoder")
def test_ten_hours_of_indexed_frames_are_refused_before_a_frame_is_decoded(tmp_path):
    path = clips.write_clip(tmp_path / "long.mp4")
    with pytest.raises(VideoTooLargeError, match=r"at most 20 frames, got 'long\.mp4' with 30"):
        probe(path, limits=VideoLimits(max_seconds=1, max_frames_per_second=20))


def test_webm_over_the_time_limit_is_refused(tmp_path):
    path = clips.write_clip(tmp_path / "long.webm")
    with pytest.raises(VideoTooLargeError, match="at most 1 seconds"):
        probe(path, limits=VideoLimits(max_seconds=1))


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_high_frame_rate_is_refused(tmp_path, suffix):
    path = clips.write_clip(tmp_path / f"fast{suffix}", frames_per_second=250)
    with pytest.raises(VideoTooLargeError, match="at most 120 frames per second"):
        probe(path)
    assert probe(path, limits=VideoLimits(max_frames_per_second=None)).frames_per_second == pytest.approx(250)


def test_none_means_no_limit(tmp_path):
    path = clips.write_clip(tmp_path / "big.avi", num_frames=1, width=4200, height=16)
    with pytest.raises(VideoTooLargeError):
        probe(path)
    unlimited = VideoLimits(*[None] * len(dataclasses.fields(VideoLimits)))
    assert probe(path, limits=unlimited).width == 4200


def test_sides_are_checked_as_shown(tmp_path):
    path = clips.rotate_mp4(clips.write_clip(tmp_path / "phone.mp4"))
    assert probe(path, limits=VideoLimits(max_width=48, max_height=64)).width == 48
    with pytest.raises(VideoTooLargeError, match="at most 48 pixels high"):
        probe(path, limits=VideoLimits(max_width=64, max_height=48))


def test_browser_recording_without_rate_and_duration_is_accepted(tmp_path):
    path = clips.forget_webm_rate_and_duration(clips.write_clip(tmp_path / "webcam.webm"))
    steps = np.random.default_rng(0).choice([17, 33, 50, 41, 90], 30)
    times = np.cumsum(steps).tolist()
    info = probe(clips.set_webm_times(path, times))
    assert info.num_frames == 30
    assert info.duration_seconds == pytest.approx((times[-1] - times[0]) / 1000, abs=0.1)
    assert info.frames_per_second == pytest.approx(30 / info.duration_seconds)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_impossible_frame_count_is_not_believed(tmp_path, suffix):
    set_count = clips.set_avi_frame_count if suffix == ".avi" else clips.set_mp4_frame_count
    info = probe(set_count(clips.write_clip(tmp_path / f"liar{suffix}"), 2**31 - 1))
    assert (info.num_frames, info.duration_seconds) == (30, pytest.approx(1.2))


def test_mp4_cut_off_before_its_index_is_corrupt(tmp_path):
    path = clips.noisy_clip(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CorruptVideoError, match=r"'cut\.mp4'.*damaged, cut off"):
        probe(path)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm", ".mkv", ".gif", ".png", ".jpg", ".webp", ".tiff"])
def test_every_damaged_header_is_a_video_error_or_readable(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    if suffix in clips.CODECS:
        clips.write_clip(path, num_frames=3)
    elif suffix == ".gif":
        clips.write_gif(path, [100] * 3)
    else:
        path.write_bytes(clips.encode(suffix, clips.numbered_frame(1)))
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for cut in [*range(1, 60, 3), *generator.integers(60, len(whole) + 60, 20)]:
        damaged = bytearray(whole[:cut])
        for position in generator.integers(4, len(damaged) + 4, 3):
            if position < len(damaged):
                damaged[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(VideoError):
            assert probe(path).width > 0


def test_message_does_not_tell_where_the_file_lies(tmp_path):
    with pytest.raises(VideoError) as caught:
        probe(tmp_path / "secret_folder" / "clip.mp4")
    assert "secret_folder" not in str(caught.value)


def test_wmv_header_is_read_and_its_lies_are_not_believed(tmp_path):
    path = tmp_path / "clip.wmv"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"WMV2"), 25, (64, 48))
    for index in range(5):
        writer.write(clips.numbered_frame(index))
    writer.release()
    assert (probe(path).width, probe(path).num_frames) == (64, 5)
    data = path.read_bytes()
    stream = data.index(bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365"))
    bomb = data[: stream + 78] + struct.pack("<II", 20_000, 20_000) + data[stream + 86 :]
    path.write_bytes(bomb)
    assert (probe(path).width, len(list(read_frames(path)))) == (64, 5)
    path.write_bytes(data[: stream + 94] + struct.pack("<II", 20_000, 20_000) + data[stream + 102 :])
    with pytest.raises(VideoError):
        probe(path)


@pytest.mark.parametrize("num_frames", [1, 2])
@pytest.mark.parametrize("has_tag", [True, False])
def test_a_recording_of_a_frame_or_two_has_no_thousand_frames_a_second(tmp_path, num_frames, has_tag):
    path = clips.encode_clip(tmp_path / "recorded.webm", "libvpx", num_frames=num_frames)
    clips.forget_webm_rate_and_duration(path)
    if not has_tag:
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"duration"))
    rate = probe(path).frames_per_second
    assert rate is None or rate == pytest.approx(25, abs=1)
    assert len(list(read_frames(path))) == num_frames
