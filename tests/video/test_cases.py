"""Files that went wrong elsewhere, each read as a player shows it: shared ones, and small ones of our own."""

import itertools
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from dfer_hf.video import (
    CorruptVideoError,
    NotAVideoError,
    UnsupportedCodecError,
    VideoError,
    VideoLimits,
    VideoTooLargeError,
    VideoWarning,
    probe,
    read_frames,
)
from dfer_hf.video.tone_mapping import HLG, PQ, map_to_sdr
from tests.shared_data import SHARED_DATA

from . import make_clips as clips

CASES = SHARED_DATA / "cases"
needs_cases = pytest.mark.skipif(
    not CASES.is_dir(), reason=f"DFER_SHARED_DATA has no cases folder: {SHARED_DATA.name}"
)
# Name, number of frames, time of the last one, size, and a word of the one warning.
SHOWN = [
    ("anim_first_blank.webp", 2, 0.1, (512, 432), None),
    ("av1.mp4", 75, 2.96, (480, 640), None),
    ("cover_udta_first.mp4", 75, 2.96, (480, 640), None),
    ("cut_mid_packet.ts", 75, 2.96, (480, 640), None),
    ("fast_interlaced.mp4", 75, 2.96, (480, 640), None),
    ("il_mpeg2.mpg", 37, 3.0, (480, 640), None),
    ("joined_10h.ts", 150, 5.96, (480, 640), "jumps at 3.00 seconds"),
    ("matrix_transpose.mp4", 75, 2.96, (480, 640), None),
    ("matrix_vflip.mp4", 75, 2.96, (480, 640), None),
    ("plain.mp4", 75, 2.96, (480, 640), None),
    ("pq10.mp4", 75, 2.96, (480, 640), None),
    ("raw.mjpeg", 75, 2.96, (480, 640), None),
    ("raw_sideways.mp4", 75, 2.96, (640, 480), None),
    ("rotate_midway.ts", 76, 3.0, (480, 640), None),
    ("sar2.mp4", 75, 2.96, (480, 640), None),
    ("thumb_track_first.mp4", 75, 2.96, (480, 640), None),
    ("turn.mp4", 100, 3.96, (480, 640), None),
]
# Those that show what `plain.mp4` shows, and how far a pixel may be from it in the mean.
LIKE_PLAIN = {
    "av1.mp4": 4, "cover_udta_first.mp4": 4, "cut_mid_packet.ts": 4, "matrix_transpose.mp4": 4,
    "matrix_vflip.mp4": 4, "pq10.mp4": 8, "raw.mjpeg": 4, "sar2.mp4": 4, "thumb_track_first.mp4": 4,
}  # fmt: skip


def read(source, **options):
    """Read everything, with the warnings."""
    said = []
    return list(read_frames(source, warn=said.append, **options)), said


@needs_cases
@pytest.mark.parametrize(("name", "count", "last", "shape", "word"), SHOWN)
def test_a_case_gives_every_frame_at_its_time_and_in_its_shape(name, count, last, shape, word):
    info = probe(CASES / name)
    frames, said = read(CASES / name)
    assert (len(frames), info.num_frames, (info.height, info.width)) == (count, count, shape)
    assert {frame.rgb.shape[:2] for frame in frames} == {shape}
    times = [frame.time_seconds for frame in frames]
    assert (times[0], times[-1]) == (0, pytest.approx(last, abs=0.002))
    assert times == sorted(times)
    assert len(said) == (word is not None)
    assert all(word in sentence for sentence in said)


@needs_cases
@pytest.mark.parametrize("name", sorted(LIKE_PLAIN))
def test_a_case_shows_what_its_plain_copy_shows(name):
    plain = [frame.rgb.astype(int) for frame in read_frames(CASES / "plain.mp4", max_side=160)]
    shown = [frame.rgb.astype(int) for frame in read_frames(CASES / name, max_side=160)]
    distances = [np.abs(one - other).mean() for one, other in zip(shown, plain, strict=True)]
    assert max(distances) < LIKE_PLAIN[name]


@needs_cases
def test_a_face_keeps_its_shape_when_the_picture_turns_midway():
    frames, _ = read(CASES / "rotate_midway.ts")
    last = frames[-1].rgb
    # A portrait within a landscape, with bars at both sides.
    assert last[:, :180].max() < 20
    assert last[:, 460:].max() < 20
    assert last[:, 190:450].min(axis=(0, 2)).max() > 60


@needs_cases
def test_a_case_reads_the_same_whatever_was_read_before():
    """A decoder once gave the frames of an earlier file."""
    names = ["plain.mp4", "fast_interlaced.mp4", "cut.mp4", "il_mpeg2.mpg", "turn.mp4", "broken.mp4"]
    sources = {name: (CASES / name).read_bytes() for name in names if (CASES / name).exists()}
    whole = sources["fast_interlaced.mp4"]
    sources["cut.mp4"] = whole[: len(whole) * 2 // 3]
    broken = bytearray(sources["plain.mp4"])
    broken[40_000:120_000] = bytes(80_000)
    sources["broken.mp4"] = bytes(broken)

    def digest(source):
        try:
            frames, _ = read(source, max_side=64)
        except VideoError as error:
            return type(error)
        return np.stack([frame.rgb for frame in frames]).tobytes()

    alone = {name: digest(source) for name, source in sources.items()}
    for order in itertools.islice(itertools.permutations(names), 0, None, 240):
        assert {name: digest(sources[name]) for name in order} == alone


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".mp4", {"x264-params": "tff=1"}),
        ("libx264", ".ts", {"x264-params": "bff=1"}),
        ("mpeg2video", ".mpg", {"flags": "+ildct+ilme", "threads": "1"}),
        ("dvvideo", ".avi", {}),
    ],
)
def test_interlaced_frames_come_whole_and_in_order(tmp_path, codec, suffix, options):
    size = {"width": 720, "height": 576} if codec == "dvvideo" else {}
    path = clips.encode_clip(tmp_path / f"clip{suffix}", codec, options=options, **size)
    frames, said = read(path)
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(30))
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(30)])
    assert said == []


def test_combs_of_interlacing_are_taken_out(tmp_path):
    def combed(index):
        rgb = np.full((64, 96, 3), 40, np.uint8)
        for field in (0, 1):
            left = 8 + 2 * (2 * index + field)
            rgb[field::2, left : left + 20] = 220
        return rgb

    combs = []
    for name, options in (("woven", {}), ("interlaced", {"x264-params": "tff=1"})):
        path = clips.encode_clip(
            tmp_path / f"{name}.mp4", "libx264", options=options | {"crf": "10"}, picture=combed, width=96, height=64,
            num_frames=10,
        )  # fmt: skip
        frames, _ = read(path)
        assert len(frames) == 10
        rows = frames[5].rgb[10:50].astype(int).mean(axis=2)
        combs.append(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())
    assert combs[1] < combs[0] / 3


def test_a_stream_that_turns_interlaced_midway_shows_every_frame(tmp_path):
    parts = [
        clips.encode_clip(tmp_path / f"{index}.ts", "libx264", options=options, num_frames=10).read_bytes()
        for index, options in enumerate(({}, {"x264-params": "tff=1"}, {}))
    ]
    frames, _ = read(b"".join(parts))
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(10)) * 3


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv"])
def test_av1_is_read(tmp_path, suffix):
    path = clips.encode_clip(tmp_path / f"clip{suffix}", "libsvtav1", options={"preset": "12"})
    assert probe(path).codec == "av1"
    assert [clips.number_of(frame.rgb) for frame in read(path)[0]] == list(range(30))


@pytest.mark.parametrize(
    ("matrix", "corners"),
    [
        ((1, 0, 0, 1), "RGBW"),
        ((0, 1, -1, 0), "BRWG"),
        ((-1, 0, 0, -1), "WBGR"),
        ((0, -1, 1, 0), "GWRB"),
        ((-1, 0, 0, 1), "GRWB"),
        ((1, 0, 0, -1), "BWRG"),
        ((0, 1, 1, 0), "RBGW"),
        ((0, -1, -1, 0), "WGBR"),
    ],
)
def test_the_whole_display_matrix_counts(tmp_path, matrix, corners):
    """Corners are named from the left top one on, row by row: red, green, blue, white as stored."""
    path = clips.encode_clip(tmp_path / "clip.mp4", "libx264", picture=clips.four_corners, num_frames=2)
    a, b, c, d = (number << 16 for number in matrix)
    clips.patch(path, b"tkhd", 40, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    info, (frame, _) = probe(path), read(path)[0]
    turned = matrix[0] == 0
    assert (info.width, info.height) == ((48, 64) if turned else (64, 48))
    assert frame.rgb.shape == (info.height, info.width, 3)
    assert clips.name_corners(frame.rgb) == corners


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov"])
@pytest.mark.parametrize(
    ("ratio", "stored", "shown"),
    [((2, 1), (32, 48), (64, 48)), ((1, 2), (64, 24), (64, 48)), ((500, 1), (64, 48), (64, 48))],
)
def test_pixels_become_square(tmp_path, suffix, ratio, stored, shown):
    path = clips.encode_clip(
        tmp_path / f"clip{suffix}", "libx264", width=stored[0], height=stored[1], ratio=Fraction(*ratio)
    )
    info = probe(path)
    assert (info.width, info.height) == shown
    assert {frame.rgb.shape for frame in read(path)[0]} == {(shown[1], shown[0], 3)}
    assert read(path, max_side=32)[0][0].scale == 2


def test_limits_count_pixels_as_shown(tmp_path):
    path = clips.encode_clip(tmp_path / "wide.mp4", "libx264", ratio=Fraction(2, 1), num_frames=2)
    with pytest.raises(VideoTooLargeError, match="with 128") as caught:
        probe(path, limits=VideoLimits(max_width=100))
    assert caught.value.limit == "max_width"
    assert probe(path, limits=VideoLimits(max_width=128)).width == 128


def tracks(path, *films):
    """Write several tracks: codec, number of frames, size and what the container says of each."""
    with av.open(str(path), "w") as container:
        streams = []
        for codec, _, (width, height), disposition in films:
            stream = container.add_stream(codec, rate=25, width=width, height=height)
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = disposition
            streams.append(stream)
        for stream, (_, num_frames, size, _) in zip(streams, films, strict=True):
            for index in range(num_frames):
                frame = av.VideoFrame.from_ndarray(clips.numbered_frame(index, *size))
                container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            container.mux(stream.encode(None))
    return path


DEFAULT, COVER, NOTHING = (av.stream.Disposition.default, av.stream.Disposition.attached_pic, av.stream.Disposition(0))


@pytest.mark.parametrize(
    ("suffix", "films"),
    [
        (".mp4", [("mjpeg", 1, (32, 32), COVER), ("libx264", 30, (64, 48), DEFAULT)]),
        (".mp4", [("libx264", 1, (32, 32), DEFAULT), ("libx264", 30, (64, 48), NOTHING)]),
        (".mkv", [("libx264", 1, (32, 32), DEFAULT), ("libx264", 30, (64, 48), NOTHING)]),
        (".mkv", [("libx264", 40, (32, 32), NOTHING), ("libx264", 30, (64, 48), DEFAULT)]),
        (".mkv", [("libx264", 8, (32, 32), NOTHING), ("libx264", 30, (64, 48), NOTHING)]),
        (".mkv", [("libx264", 30, (64, 48), NOTHING), ("libx264", 31, (32, 32), NOTHING)]),
    ],
    ids=["cover", "thumbnail", "thumbnail in mkv", "not the default", "shorter", "first of two alike"],
)
def test_the_film_is_found_among_the_tracks(tmp_path, suffix, films):
    path = tracks(tmp_path / f"clip{suffix}", *films)
    frames, said = read(path)
    assert {frame.rgb.shape for frame in frames} == {(48, 64, 3)}
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(30))
    assert said == []


def test_a_cover_alone_makes_no_film_of_a_sound_file(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1, width=64, height=48, pix_fmt="yuvj420p")
        cover.disposition = COVER
        sound = container.add_stream("aac", rate=48_000)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(clips.numbered_frame(3)).reformat(format="yuvj420p")))
        container.mux(clips.encode_sound(sound, seconds=1))
    with pytest.raises(VideoError, match="with sound but no pictures"):
        probe(path)


@pytest.mark.parametrize("num_bytes", [0, 5000])
def test_motion_jpeg_is_a_video_and_one_jpeg_a_still(tmp_path, num_bytes):
    path = clips.encode_clip(tmp_path / "raw.mjpeg", "mjpeg", container="mjpeg", pixels="yuvj420p")
    frames, _ = read(path)
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(30))
    assert not probe(path).is_still
    # Cameras put previews, films and padding behind a picture.
    still = clips.encode(".jpg", clips.numbered_frame(3, 80, 60)) + path.read_bytes()[:num_bytes]
    assert probe(still).is_still
    assert len(read(still)[0]) == 1


def test_motion_jpeg_is_turned_as_each_of_its_photos_says():
    data = b"".join(clips.sideways_jpeg(clips.four_corners(0)) for _ in range(6))
    info, (frames, _) = probe(data), read(data)
    assert (info.width, info.height, len(frames)) == (48, 64, 6)
    assert clips.name_corners(frames[0].rgb) == "BRWG"


def test_time_stamps_that_jump_are_mended_and_told(tmp_path):
    first = clips.encode_clip(tmp_path / "first.ts", "mpeg2video", num_frames=10)
    later = clips.encode_clip(tmp_path / "later.ts", "mpeg2video", num_frames=10, start_seconds=20_000)
    for parts in ((first, later), (later, first)):
        joined = b"".join(part.read_bytes() for part in parts)
        info, (frames, said) = probe(joined), read(joined)
        assert (info.num_frames, info.duration_seconds) == (20, pytest.approx(0.8))
        assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(20)])
        assert len(said) == 1
        assert "jumps at 0.40 seconds" in said[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pauses_that_are_meant_are_kept(tmp_path, suffix):
    times = [0.0, 15.0, 40.0, 70.0]
    path = clips.encode_clip(tmp_path / f"slides{suffix}", "libx264", num_frames=4, times=times)
    frames, said = read(path)
    assert [frame.time_seconds for frame in frames] == pytest.approx(times)
    assert said == []


def test_lost_packets_of_a_stream_are_told_with_their_seconds(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 96, 128, 3), dtype=np.uint8)
    path = clips.encode_clip(
        tmp_path / "whole.ts",
        "mpeg2video",
        width=128,
        height=96,
        picture=lambda index: noise[index],
        options={"g": "5"},
    )
    whole = path.read_bytes()
    assert read(whole)[1] == []
    packets = [whole[start : start + 188] for start in range(0, len(whole), 188)]
    del packets[len(packets) // 2 : len(packets) // 2 + 3]
    frames, said = read(b"".join(packets))
    assert len(frames) >= 29
    assert len(said) == 1
    start, end = (float(number) for number in said[0].partition("(")[2].partition(" seconds)")[0].split(" to "))
    assert 0.2 <= start < end < 0.5


def test_streams_that_join_a_broadcast_later_do_no_harm(tmp_path):
    first = clips.encode_clip(tmp_path / "first.ts", "mpeg2video", num_frames=300)
    then = clips.write_clip_with_sound(tmp_path / "then.ts", seconds=3)
    frames, _ = read(first.read_bytes() * 2 + then.read_bytes())
    assert len(frames) >= 670


def test_warnings_go_to_python_when_nobody_asks_for_them(tmp_path):
    path = clips.noisy_clip(tmp_path / "cut.avi")
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.warns(VideoWarning, match=r"'cut\.avi'"):
        list(read_frames(path))


@pytest.mark.parametrize("source", ["path", "bytes", "file"])
def test_bytes_and_files_read_as_paths_do(tmp_path, source):
    path = clips.write_clip(tmp_path / "clip.mp4", num_frames=5)
    still = tmp_path / "still.png"
    still.write_bytes(clips.encode(".png", clips.numbered_frame(3)))
    for file, count in ((path, 5), (still, 1)):
        with file.open("rb") as stream:
            stream.seek(7)
            given = {"path": file, "bytes": file.read_bytes(), "file": stream}[source]
            info = probe(given)
            assert (info.num_frames, info.path) == (count, file if source == "path" else None)
            assert info.name == ("the video" if source == "bytes" else repr(file.name))
            assert len(read(given)[0]) == count
            assert not stream.closed
    with pytest.raises(NotAVideoError, match="got the video which starts like none"):
        probe(b"text")


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_becomes_what_other_screens_show(tmp_path, transfer):
    levels = clips.HDR_CODES[transfer]
    path = clips.encode_clip(
        tmp_path / "hdr.mkv", "ffv1", width=48, pixels="yuv420p10le", num_frames=3, transfer=transfer,
        picture=lambda _: np.tile(np.repeat(np.array(levels, np.uint8), 16)[None, :, None], (48, 1, 3)),
    )  # fmt: skip
    frames, said = read(path)
    greys = frames[1].rgb[24, 8::16].astype(int)
    assert said == []
    assert np.ptp(greys, axis=1).max() <= 8
    # A quarter of white's light, white, and ten times as much.
    assert greys[:, 0] == pytest.approx([255 * 0.25 ** (1 / 2.4), 233, 255], abs=8)


def test_tone_mapping_keeps_order_and_grey():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for transfer in (PQ, HLG):
        mapped = map_to_sdr(ramp, transfer).astype(int)
        assert (np.diff(mapped[0], axis=0) >= 0).all()
        assert np.ptp(mapped, axis=2).max() <= 3
        assert mapped[0, 0].max() == 0


def test_a_missing_codec_is_called_missing(tmp_path):
    path = clips.encode_clip(tmp_path / "clip.mov", "libx264", num_frames=3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))
    with pytest.raises(UnsupportedCodecError, match=r"'clip\.mov'.*missing"):
        probe(path)


@pytest.mark.parametrize(
    "text",
    [
        b"ffconcat version 1.0\nfile other.mp4\nduration 1\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="other.png"/></svg>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(other) run\n",
        b"1\n00:00:00,000 --> 00:00:02,000\nhello\n",
        b"\x1b[2J\x1b[31mhello\x1b[0m",
        b"RIFF\x10\0\0\0WEBPVP8 ",
    ],
    ids=["concat", "m3u8", "svg", "eps", "subtitles", "terminal", "half a webp"],
)
def test_files_that_lead_elsewhere_or_nowhere_are_refused(tmp_path, text):
    clips.write_clip(tmp_path / "other.mp4", num_frames=3)
    path = tmp_path / "clip.mp4"
    path.write_bytes(text)
    with pytest.raises((NotAVideoError, CorruptVideoError), match=r"'clip\.mp4'"):
        probe(path)


def test_a_gif_of_many_large_frames_is_refused_by_its_header():
    picture = b"\x21\xf9\x04\0\x04\0\0\0\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    head = b"GIF89a" + struct.pack("<2H3B", 4000, 4000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    with pytest.raises(VideoTooLargeError, match=r"at most 10000000000 pixels in all frames") as caught:
        probe(head + 3000 * picture + b";", limits=VideoLimits(max_decoded_pixels=10**10))
    assert caught.value.limit == "max_decoded_pixels"


def test_pixels_are_counted_while_decoding_too(tmp_path):
    path = clips.set_webm_duration(clips.write_clip(tmp_path / "liar.webm"), 400)
    seen = []
    with pytest.raises(VideoTooLargeError, match="goes on after them"):
        seen.extend(read_frames(path, limits=VideoLimits(max_decoded_pixels=20 * 64 * 48)))


def test_names_are_never_taken_for_patterns_or_formats(tmp_path):
    for name in ("img_%02d.jpg", "clip.ffconcat", "pipe:0", "*.png", "clip.txt"):
        path = clips.write_clip(tmp_path / "clip.mp4", num_frames=3).rename(tmp_path / name)
        assert len(read(path)[0]) == 3
