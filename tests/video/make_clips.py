"""Small video and image files, good and bad, made for the tests."""

import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

NUM_FRAMES = 30
WIDTH, HEIGHT = 64, 48
FRAMES_PER_SECOND = 25.0
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80", ".ts": "mp4v"}
# The identity, and a quarter turn clockwise, in 16.16 and 2.30 fixed point.
QUARTER_TURN = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def numbered_frame(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """RGB frame whose brightness tells its index, with a red left half."""
    rgb = np.full((height, width, 3), 8 * index % 256, dtype=np.uint8)
    rgb[:, : width // 2] = (255, 0, 0)
    return rgb


def number_of(rgb: np.ndarray) -> int:
    """Read the index back from the right half of a numbered frame."""
    return round(float(rgb[:, rgb.shape[1] * 3 // 4].mean()) / 8)


def four_corners(_index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """RGB frame of four quarters: red, green, blue, white."""
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    rgb[: height // 2, : width // 2, 0] = rgb[: height // 2, width // 2 :, 1] = 255
    rgb[height // 2 :, : width // 2, 2] = rgb[height // 2 :, width // 2 :] = 255
    return rgb


def name_corners(rgb: np.ndarray) -> str:
    """Name the quarters of such a frame, turned somehow, from the left top one on, row by row."""
    height, width = rgb.shape[:2]
    pixels = [rgb[height * y // 4, width * x // 4] > 128 for y in (1, 3) for x in (1, 3)]
    names = {(True, False, False): "R", (False, True, False): "G", (False, False, True): "B", (True,) * 3: "W"}
    return "".join(names.get(tuple(pixel.tolist()), "?") for pixel in pixels)


def encode_clip(
    path: Path,
    codec: str,
    *,
    num_frames: int = NUM_FRAMES,
    width: int = WIDTH,
    height: int = HEIGHT,
    pixels: str = "yuv420p",
    container: str | None = None,
    picture: Callable[[int], np.ndarray] | None = None,
    options: dict[str, str] | None = None,
    ratio: Fraction | None = None,
    times: list[float] | None = None,
    start_seconds: float = 0.0,
    transfer: int | None = None,
) -> Path:
    """Encode pictures, numbered frames if no others are given, as FFmpeg can."""
    silent = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=25, width=width, height=height, options=silent | (options or {}))
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.time_base = Fraction(1, 25)
        if ratio is not None:
            context.sample_aspect_ratio = ratio
        if transfer is not None:
            context.color_trc, context.color_primaries, context.colorspace, context.color_range = (transfer, 9, 9, 1)
        for index in range(num_frames):
            rgb = picture(index) if picture else numbered_frame(index, width, height)
            frame = av.VideoFrame.from_ndarray(rgb).reformat(
                format=pixels, dst_colorspace=9 if transfer else None, dst_color_range="MPEG" if transfer else None
            )
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (start_seconds + (times[index] if times else index / 25)))
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


HDR_CODES = {16: (97, 130, 192), 18: (95, 161, 255)}
"""Codes of 25, 100 and 1000 nits, by transfer curve: PQ and HLG."""


def write_clip(
    path: Path,
    *,
    num_frames: int = NUM_FRAMES,
    width: int = WIDTH,
    height: int = HEIGHT,
    frames_per_second: float = FRAMES_PER_SECOND,
) -> Path:
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, frames_per_second, (width, height))
    assert writer.isOpened()
    for index in range(num_frames):
        writer.write(cv2.cvtColor(numbered_frame(index, width, height), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def write_gif(path: Path, durations: list[int]) -> Path:
    animation = cv2.Animation()
    animation.frames = [numbered_frame(index) for index in range(len(durations))]
    animation.durations = np.array(durations)
    assert cv2.imwriteanimation(str(path), animation)
    return path


def noisy_clip(path: Path, *, num_frames: int = NUM_FRAMES) -> Path:
    """A clip in which every frame takes many bytes, so that damage hits some of them."""
    generator = np.random.default_rng(0)
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, FRAMES_PER_SECOND, (WIDTH, HEIGHT))
    for _ in range(num_frames):
        writer.write(generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    writer.release()
    return path


def patch(path: Path, marker: bytes, offset: int, new: bytes) -> Path:
    """Overwrite bytes `offset` after the end of the first `marker`."""
    data = bytearray(path.read_bytes())
    start = data.index(marker) + len(marker) + offset
    data[start : start + len(new)] = new
    path.write_bytes(data)
    return path


def rotate_mp4(path: Path) -> Path:
    return patch(path, b"tkhd", 40, QUARTER_TURN)


def move_mp4_index_to_front(path: Path) -> Path:
    """Put the index before the frames, as for streaming, and shift where it says they are."""
    data = path.read_bytes()
    frames, index = data.index(b"mdat") - 4, data.index(b"moov") - 4
    moved = bytearray(data[index:])
    table = moved.index(b"stco") + 8
    for entry in range(struct.unpack_from(">I", moved, table)[0]):
        (offset,) = struct.unpack_from(">I", moved, table + 4 + 4 * entry)
        struct.pack_into(">I", moved, table + 4 + 4 * entry, offset + len(moved))
    path.write_bytes(data[:frames] + bytes(moved) + data[frames:index])
    return path


def trim_mp4(path: Path, milliseconds: int) -> Path:
    """Let the edit list show only the start, as a phone does when a clip is trimmed."""
    return patch(path, b"elst", 8, struct.pack(">I", milliseconds))


def cut_without_encoding(path: Path, target: Path, *, frames: int) -> Path:
    """Copy an MP4's packets and show it from a frame on, as `ffmpeg -ss … -c copy` and trimming on a phone do."""
    with av.open(str(path)) as whole, av.open(str(target), "w") as cut:
        film = whole.streams.video[0]
        copied = cut.add_stream_from_template(film)
        offset = int(frames / film.average_rate / film.time_base)
        for packet in whole.demux(film):
            if packet.dts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copied
            cut.mux(packet)
    return target


def set_mp4_frame_count(path: Path, num_frames: int) -> Path:
    return patch(path, b"stts", 8, struct.pack(">I", num_frames))


def set_mp4_frame_ticks(path: Path, ticks: int) -> Path:
    return patch(path, b"stts", 12, struct.pack(">I", ticks))


def set_avi_frame_count(path: Path, num_frames: int) -> Path:
    patch(path, b"avih", 4 + 16, struct.pack("<I", num_frames))
    return patch(path, b"strh", 4 + 32, struct.pack("<I", num_frames))


def forget_webm_rate_and_duration(path: Path) -> Path:
    """Turn both elements into filling, as in what browsers record."""
    data = path.read_bytes()
    data = data.replace(b"\x23\xe3\x83\x84" + _after(data, b"\x23\xe3\x83\x84", 4), b"\xec\x86" + bytes(6), 1)
    data = data.replace(b"\x44\x89\x88" + _after(data, b"\x44\x89\x88", 8), b"\xec\x89" + bytes(9), 1)
    path.write_bytes(data)
    return path


def set_webm_duration(path: Path, milliseconds: float) -> Path:
    """Let the header state another duration, and the track none."""
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"duration"))
    return patch(path, b"\x44\x89\x88", 0, struct.pack(">d", milliseconds))


def set_webm_times(path: Path, times_milliseconds: list[int]) -> Path:
    """Give each frame of a WebM file with one cluster its own time."""
    data = bytearray(path.read_bytes())
    cluster = data.index(b"\x1f\x43\xb6\x75")
    times = iter(times_milliseconds)
    for number, body in _iterate_webm_elements(data, cluster, len(data)):
        if number == b"\xa3":
            time = next(times, None)
            if time is not None:
                struct.pack_into(">h", data, body + 1, time)
    assert next(times, None) is None, "fewer frames than times"
    path.write_bytes(data)
    return path


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header alone is there, of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"0"))


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def sideways_jpeg(rgb: np.ndarray) -> bytes:
    """A JPEG that is to be turned clockwise by a quarter when shown."""
    data = encode(".jpg", rgb)
    segment = b"Exif\0\0" + exif(6)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def sideways_png(rgb: np.ndarray) -> bytes:
    data = encode(".png", rgb)
    return data[:33] + png_chunk(b"eXIf", exif(6)) + data[33:]


def sideways_webp(rgb: np.ndarray) -> bytes:
    height, width = rgb.shape[:2]
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    orientation = exif(6)
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([8, 0, 0, 0]) + canvas + encode(".webp", rgb)[12:]
    body += b"EXIF" + struct.pack("<I", len(orientation)) + orientation
    return b"RIFF" + struct.pack("<I", len(body)) + body


def encode(suffix: str, rgb: np.ndarray) -> bytes:
    encoded, data = cv2.imencode(suffix, rgb[..., ::-1] if rgb.ndim == 3 and rgb.shape[2] == 3 else rgb)
    assert encoded
    return data.tobytes()


SOUND_CODECS = {
    ".mp4": "aac", ".webm": "libopus", ".mkv": "aac", ".avi": "mp3", ".ogg": "libopus", ".wmv": "wmav2", ".mp3": "mp3",
    ".flac": "flac",
}  # fmt: skip


def write_sound(path: Path, *, seconds: float = 1.0) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w", format="asf" if path.suffix == ".wmv" else None) as container:
        stream = container.add_stream(SOUND_CODECS[path.suffix], rate=48_000, bit_rate=96_000)
        for packet in encode_sound(stream, seconds=seconds):
            container.mux(packet)
    return path


def write_clip_with_sound(path: Path, *, seconds: float) -> Path:
    """Numbered frames as in `write_clip`, with a tone."""
    codecs = {".webm": ("libvpx", "libopus"), ".avi": ("mpeg4", "mp3"), ".ts": ("mpeg2video", "aac")}
    codec, sound_codec = codecs.get(path.suffix, ("libx264", "aac"))
    with av.open(str(path), "w") as container:
        film = container.add_stream(codec, rate=25, width=WIDTH, height=HEIGHT)
        sound = container.add_stream(sound_codec, rate=48_000, bit_rate=96_000)
        for index in range(round(25 * seconds)):
            container.mux(film.encode(av.VideoFrame.from_ndarray(numbered_frame(index))))
        container.mux(film.encode(None))
        container.mux(encode_sound(sound, seconds=seconds))
    return path


def encode_sound(stream: av.AudioStream, *, seconds: float) -> Iterator[av.Packet]:
    """Packets of a tone of 440 Hz."""
    tone = np.sin(np.arange(round(48_000 * seconds)) * (2 * np.pi * 440 / 48_000)) * 8000
    samples = np.ascontiguousarray(np.repeat(tone.astype(np.int16), 2)[None])
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    resampler = av.AudioResampler(stream.format, stream.layout, 48_000, frame_size=stream.frame_size or 1024)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        yield from stream.encode(part)
    yield from stream.encode(None)


def wav() -> bytes:
    fmt = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", 800) + bytes(800)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _after(data: bytes, marker: bytes, length: int) -> bytes:
    start = data.index(marker) + len(marker)
    return data[start : start + length]


def _iterate_webm_elements(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Walk over elements and into clusters, yielding each number and where its body starts."""
    position = start
    while position < end:
        number_length = 9 - data[position].bit_length()
        size_length = 9 - data[position + number_length].bit_length()
        number = bytes(data[position : position + number_length])
        body = position + number_length + size_length
        size = int.from_bytes(data[position + number_length : body], "big") & ((1 << 7 * size_length) - 1)
        yield number, body
        position = body if number == b"\x1f\x43\xb6\x75" else body + size
