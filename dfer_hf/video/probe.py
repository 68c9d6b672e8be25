"""Look at a video file and refuse what is too large: on its header, and on one frame."""

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .clock import Clock
from .errors import (
    AudioOnlyError,
    CorruptVideoError,
    EmptyVideoError,
    NotAVideoError,
    UnsupportedCodecError,
    VideoNotFoundError,
    VideoTooLargeError,
)
from .stills import count_pictures, open_picture, picture_turn
from .turns import Turn, turn_of_matrix

Source = str | os.PathLike[str] | bytes | BinaryIO

_FILMS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,obu,ivf,mjpeg,flv,asf,ogg,"
    "gif,dv,mxf,rm,wtv,nut,yuv4mpegpipe"
)
_SOUND = "wav,w64,mp3,flac,aac,aiff,au,amr,ac3,eac3,caf"
# Playlists, scripts, drawings and patterns of names lead to other files, so FFmpeg gets to know none of them.
_OPTIONS = {"protocol_whitelist": "file,pipe", "format_whitelist": f"{_FILMS},{_SOUND}"}
_READABLE = "mp4, mov, webm, mkv, avi, gif, mpeg, flv, ogv or wmv video, or a png, jpeg, webp, avif, bmp or tiff image"
_STARTS = (
    b"\x1aE\xdf\xa3", b"GIF8", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\x01\xba", b"\0\0\x01\xb3",
    b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*",
)  # fmt: skip
_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_PHOTO_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_ASSUMED_FRAMES_PER_SECOND = 25.0
_MAX_DAMAGED_PACKETS = 300
# Tracks this much shorter than the longest are another cut of the film, not the same one rounded otherwise.
_SAME_LENGTH_SHARE = 0.9
# What a player shows when its file asks for pixels like needles is anyone's guess.
_MAX_PIXEL_RATIO = 10
# Broadcast streams break and go on; elsewhere a long pause is more likely meant, as in a recorded screen.
_LONGEST_PAUSE_SECONDS, _LONGEST_PAUSE_IN_STREAM_SECONDS = 60.0, 10.0


@dataclass(frozen=True)
class VideoLimits:
    """What is refused as too large; `None` means no limit.

    Attributes:
        max_bytes: Size of the file.
        max_seconds: Playing time.
        max_width: Pixels from left to right, as shown.
        max_height: Pixels from top to bottom, as shown.
        max_frames_per_second: Mean frame rate. With `max_seconds` it also bounds the number of frames.
        max_decoded_pixels: Pixels of all frames together, which is what decoding costs.
    """

    max_bytes: int | None = 500_000_000
    max_seconds: float | None = 600.0
    max_width: int | None = 4096
    max_height: int | None = 4096
    max_frames_per_second: float | None = 120.0
    max_decoded_pixels: int | None = None

    @property
    def max_frames(self) -> int | None:
        """Frames that the longest allowed video has at the highest allowed rate."""
        if self.max_seconds is None or self.max_frames_per_second is None:
            return None
        return math.ceil(self.max_seconds * self.max_frames_per_second)


DEFAULT_LIMITS = VideoLimits()


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video or still image says; it may be wrong about all but the file's size.

    Attributes:
        path: The file, or `None` for bytes and for files without a name.
        name: What messages call it.
        size_bytes: Size of the file.
        width: Pixels from left to right as shown, that is turned and with square pixels.
        height: Pixels from top to bottom as shown.
        num_frames: Number of frames, or `None` when the header does not say or cannot be right.
        duration_seconds: Playing time, or `None`; 0 for a still.
        frames_per_second: Mean frame rate, or `None` when the header does not say, and for a still.
        codec: FFmpeg's name of the codec, or the format of a picture.
        is_still: Whether this is a still image, read as a video of one frame.
        num_indexed_frames: Frames that the file's index lists, or `None` when it has no index.
        ends_early: Whether the file is shorter than its own structure says.
        track: Which of the container's streams is the film.
    """

    path: Path | None
    name: str
    size_bytes: int
    width: int
    height: int
    num_frames: int | None
    duration_seconds: float | None
    frames_per_second: float | None
    codec: str
    is_still: bool
    num_indexed_frames: int | None = None
    ends_early: bool = False
    track: int = 0


@dataclass(frozen=True)
class _Timing:
    num_frames: int | None
    seconds: float | None
    is_indexed: bool = False

    @property
    def rate(self) -> float | None:
        return self.num_frames / self.seconds if self.num_frames and self.seconds else None


def probe(source: Source, *, limits: VideoLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Read what a video's header says, check it against the limits, and decode one frame to see how it is shown.

    Still images are probed too. An animated GIF, WebP, PNG or AVIF is a video.

    Args:
        source: A path, the bytes of a file, or a binary file that can seek, which is read from its start.
        limits: What to refuse.

    Raises:
        VideoNotFoundError: There is no such file, or it cannot be opened.
        EmptyVideoError: The file has no bytes.
        NotAVideoError: It is not a regular file, or of no kind that is read here.
        AudioOnlyError: It holds sound without pictures.
        VideoTooLargeError: It is over one of the limits.
        UnsupportedCodecError: There is no decoder for its pictures.
        CorruptVideoError: Its header cannot be read, or no frame at its start be decoded.
    """
    name = name_source(source)
    with open_file(source) as stream:
        size_bytes = stream.seek(0, os.SEEK_END)
        if size_bytes == 0:
            raise EmptyVideoError(f"Expected a video, got {name} with 0 bytes; copy or upload it again.")
        check_limit(name, size_bytes, limits, "max_bytes", "bytes")
        path = Path(os.fsdecode(source)) if isinstance(source, str | os.PathLike) else None
        picture = open_picture(stream)
        if picture is None:
            return _describe_video(stream, path, name, size_bytes, limits=limits)
        _check_longer_side(name, picture.size, limits)
        width, height = picture_turn(picture).size(*picture.size)
        num_frames = count_pictures(picture)
        check_size(name, width, height, limits=limits)
        _check_count(name, num_frames, width * height, limits)
        is_still = num_frames == 1
        return VideoInfo(
            path=path,
            name=name,
            size_bytes=size_bytes,
            width=width,
            height=height,
            num_frames=num_frames,
            duration_seconds=0.0 if is_still else None,
            frames_per_second=None,
            codec=(picture.format or "").lower(),
            is_still=is_still,
        )


def name_source(source: Source) -> str:
    """Return what messages call a source: its file's name, without the folder."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return repr(Path(os.fsdecode(path)).name) if isinstance(path, str | os.PathLike) else "the video"


@contextmanager
def open_file(source: Source) -> Iterator[BinaryIO]:
    """Give the bytes of a source; a file that was passed in stays open.

    Raises:
        VideoNotFoundError: There is no such file, or it cannot be opened.
        NotAVideoError: It is not a regular file.
    """
    if isinstance(source, bytes):
        yield BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        name, path = name_source(source), os.fsdecode(source)
        try:
            # Nothing may wait on a named pipe.
            file = open(path, "rb") if stat.S_ISREG(os.stat(path).st_mode) else None  # noqa: PTH116, PTH123, SIM115
        except (OSError, ValueError) as error:
            raise VideoNotFoundError(
                f"Expected a video file, found none named {name} that can be opened; check the path. "
                "Addresses on the network are not opened: download the video first."
            ) from error
        if file is None:
            raise NotAVideoError(
                f"Expected a video file, got {name} which is no regular file; name one file."
            )
        with file:
            yield file
    else:
        yield source


@contextmanager
def open_container(stream: BinaryIO, name: str) -> Iterator[InputContainer]:
    """Let FFmpeg read a container's header; it is given the bytes, as a name can be an address or a pattern.

    Raises:
        NotAVideoError: It is of no kind that is read here.
        CorruptVideoError: Its header cannot be read.
    """
    stream.seek(0)
    try:
        container = av.open(_Nameless(stream), options=_OPTIONS, metadata_errors="ignore")
    except av.FFmpegError as error:
        stream.seek(0)
        raise _unreadable(stream.read(400), name) from error
    with container:
        yield container


def choose_track(container: InputContainer, name: str) -> VideoStream:
    """Pick the film: the default track, else the longest, and neither a cover nor a thumbnail.

    Raises:
        AudioOnlyError: There is sound, but no film.
        UnsupportedCodecError: No film has a decoder.
        CorruptVideoError: There is neither film nor sound.
    """
    films = [track for track in container.streams.video if not track.disposition & _NO_FILM]
    if not films and container.streams.audio:
        raise AudioOnlyError(f"Expected a video, got {name} with sound but no pictures; choose a video.")
    if not films:
        raise _not_found(name)
    films = [track for track in films if track.codec_context is not None]
    if not films:
        raise UnsupportedCodecError(
            f"Expected a codec that can be decoded, got {name} whose pictures have an unknown or a missing one; "
            "convert it to H.264 in mp4 or to webm."
        )
    seconds = {track.index: _track_seconds(track) for track in films}
    moving = [
        track for track in films if track.frames != 1 and not 0 < seconds[track.index] < 2 / 25
    ] or films
    chosen = [track for track in moving if track.disposition & Disposition.default] or moving
    longest = max(seconds[track.index] for track in chosen)
    return next(track for track in chosen if seconds[track.index] >= _SAME_LENGTH_SHARE * longest)


def start_clock(container: InputContainer, track: VideoStream) -> Clock:
    """Make the clock that suits a container: in some, time stamps are known to break."""
    breaks = _has_broken_stamps(container)
    return Clock(
        step_seconds=1 / (_stated_rate(track) or _ASSUMED_FRAMES_PER_SECOND),
        longest_pause_seconds=_LONGEST_PAUSE_IN_STREAM_SECONDS if breaks else _LONGEST_PAUSE_SECONDS,
    )


def frame_turn(frame: VideoFrame) -> Turn:
    """Read how a frame is to be turned when shown."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return turn_of_matrix(bytes(data))
    return Turn()


def square_size(frame: VideoFrame, track: VideoStream, stored: tuple[int, int]) -> tuple[int, int]:
    """Return width and height with square pixels, before a turn; the shorter side of a pixel grows.

    Args:
        stored: Size that the container's shape of pixels is about; another size midway brings its own.
    """
    is_first = (frame.width, frame.height) == stored
    ratio = (track.sample_aspect_ratio if is_first else track.codec_context.sample_aspect_ratio) or Fraction(
        1
    )
    if not 1 / _MAX_PIXEL_RATIO <= ratio <= _MAX_PIXEL_RATIO:
        return frame.width, frame.height
    return round(frame.width * max(ratio, 1)), round(frame.height / min(ratio, 1))


def check_size(name: str, width: int, height: int, *, limits: VideoLimits) -> None:
    """Refuse pictures that are wider or higher than allowed.

    Raises:
        VideoTooLargeError: They are.
    """
    check_limit(name, width, limits, "max_width", "pixels wide")
    check_limit(name, height, limits, "max_height", "pixels high")


def check_limit(name: str, value: float, limits: VideoLimits, field: str, unit: str) -> None:
    """Refuse what is over one field of the limits.

    Raises:
        VideoTooLargeError: It is.
    """
    limit = getattr(limits, field)
    if limit is not None and value > limit:
        raise _too_large(name, value, limit, field, unit)


def _check_longer_side(name: str, stored: tuple[int, int], limits: VideoLimits) -> None:
    # The turn is not known yet, so both sides may be as long as the longer limit.
    field = max("max_width", "max_height", key=lambda field: getattr(limits, field) or math.inf)
    check_limit(name, max(stored), limits, field, "pixels on a side")


def _too_large(name: str, value: float, limit: float, field: str, unit: str) -> VideoTooLargeError:
    return VideoTooLargeError(
        f"Expected at most {limit:g} {unit}, got {name} with {value:g}; shorten or shrink the video, "
        f"or raise {field}.",
        limit=field,
    )


def _describe_video(
    stream: BinaryIO, path: Path | None, name: str, size_bytes: int, *, limits: VideoLimits
) -> VideoInfo:
    with open_container(stream, name) as container:
        track = choose_track(container, name)
        index = track.index
        stored = track.codec_context.width, track.codec_context.height
        _check_longer_side(name, stored, limits)
        timing = _read_timing(container, track)
        if _has_broken_stamps(container) or not timing.seconds or _is_over(timing, size_bytes, limits):
            timing = timing if timing.is_indexed else _measure_timing(stream, name, index, limits)
        _check_timing(name, timing, max(1, math.prod(stored)), limits)
        last = track.index_entries[len(track.index_entries) - 1] if timing.is_indexed else None
        ends_early = last.pos + last.size > size_bytes if last else _is_cut_off(stream, size_bytes)
    # The measurement has moved the file on.
    with open_container(stream, name) as container:
        track = container.streams[index]
        frame = _first_frame(container, track, name)
        width, height = frame_turn(frame).size(*square_size(frame, track, stored))
        check_size(name, width, height, limits=limits)
        return VideoInfo(
            path=path,
            name=name,
            size_bytes=size_bytes,
            width=width,
            height=height,
            num_frames=timing.num_frames,
            duration_seconds=timing.seconds,
            frames_per_second=timing.rate,
            codec=track.codec_context.codec.canonical_name,
            is_still=False,
            num_indexed_frames=timing.num_frames if timing.is_indexed else None,
            ends_early=ends_early,
            track=index,
        )


class _Nameless:
    """A file that does not tell PyAV its name, which FFmpeg would take for a format or for a row of pictures."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read, self.seek, self.tell = stream.read, stream.seek, stream.tell


def _read_timing(container: InputContainer, track: VideoStream) -> _Timing:
    """Take count and length from the index, or from what the header says where there is none."""
    entries = track.index_entries
    seconds = _track_seconds(track)
    if track.frames and len(entries) > 1 and container.format.name.startswith(("mov", "avi")):
        span = float((entries[len(entries) - 1].timestamp - entries[0].timestamp) * track.time_base)
        indexed = span * len(entries) / (len(entries) - 1)
        # The header of an AVI only repeats the number of frames, which is often wrong.
        is_avi = container.format.name == "avi"
        return _Timing(len(entries), indexed if is_avi else max(seconds, indexed), is_indexed=True)
    seconds = seconds or (container.duration or 0) / av.time_base
    rate = _stated_rate(track)
    return _Timing(track.frames or (round(seconds * rate) if rate else None), seconds or None)


def _measure_timing(stream: BinaryIO, name: str, track_index: int, limits: VideoLimits) -> _Timing:
    """Count packets and follow their time stamps, without decoding, up to where the limits end."""
    num_packets = 0
    with open_container(stream, name) as container:
        track = container.streams[track_index]
        clock = start_clock(container, track)
        try:
            for packet in container.demux(track):
                if packet.size == 0:
                    continue
                num_packets += 1
                stamp = packet.pts if packet.dts is None else packet.dts
                duration = float((packet.duration or 0) * packet.time_base)
                clock.tick(None if stamp is None else float(stamp * packet.time_base), duration)
                over_time = limits.max_seconds is not None and clock.seconds > limits.max_seconds
                if over_time or (limits.max_frames is not None and num_packets > limits.max_frames):
                    break
        except av.FFmpegError:
            # The reader says what is damaged; up to here the measure holds.
            pass
    return _Timing(num_packets or None, clock.end_seconds if num_packets else None)


def _first_frame(container: InputContainer, track: VideoStream, name: str) -> VideoFrame:
    # One thread gives a frame after the fewest packets, and takes the least memory.
    track.codec_context.thread_count = 1
    num_damaged = 0
    try:
        for packet in container.demux(track):
            try:
                for frame in packet.decode():
                    return frame
            except av.FFmpegError:
                num_damaged += 1
            if num_damaged > _MAX_DAMAGED_PACKETS:
                break
    except av.FFmpegError:
        pass
    raise nothing_decodable(name)


def nothing_decodable(name: str) -> CorruptVideoError:
    """Say that no frame can be decoded."""
    return CorruptVideoError(
        f"Expected decodable frames, got none from {name}: it is damaged or of an unknown codec; "
        "export or upload it again, best as mp4 or webm, or as an 8-bit image."
    )


def _check_timing(name: str, timing: _Timing, pixels: int, limits: VideoLimits) -> None:
    _check_count(name, timing.num_frames or 0, pixels, limits)
    check_limit(name, timing.seconds or 0, limits, "max_seconds", "seconds")
    check_limit(name, timing.rate or 0, limits, "max_frames_per_second", "frames per second")


def _check_count(name: str, num_frames: int, pixels: int, limits: VideoLimits) -> None:
    if limits.max_frames is not None and num_frames > limits.max_frames:
        raise _too_large(name, num_frames, limits.max_frames, "max_seconds", "frames")
    check_limit(name, num_frames * pixels, limits, "max_decoded_pixels", "pixels in all frames")


def _is_over(timing: _Timing, size_bytes: int, limits: VideoLimits) -> bool:
    # A frame takes at least a byte, so a header that counts more frames than bytes says nothing.
    if (timing.num_frames or 0) > size_bytes:
        return True
    try:
        _check_timing("", timing, 1, limits)
    except VideoTooLargeError:
        return True
    return False


def _has_broken_stamps(container: InputContainer) -> bool:
    return container.format.name in ("mpegts", "mpeg")


def _stated_rate(track: VideoStream) -> float | None:
    rate = track.average_rate or track.guessed_rate
    return float(rate) if rate and rate > 0 else None


def _track_seconds(track: VideoStream) -> float:
    """How long a track is, 0 where nothing says so; Matroska writes it into a tag."""
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    try:
        hours, minutes, seconds = track.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return 0.0


def _is_cut_off(stream: BinaryIO, size_bytes: int) -> bool:
    """Whether a file without a complete index is shorter than its outermost element says."""
    stream.seek(0)
    head = stream.read(4096)
    if head.startswith(b"GIF8"):
        stream.seek(max(0, size_bytes - 64))
        return not stream.read().rstrip(b"\0").endswith(b";")
    if head.startswith(b"RIFF"):
        return 8 + struct.unpack_from("<I", head, 4)[0] > size_bytes
    start = head.find(b"\x18\x53\x80\x67") + 4
    if not head.startswith(b"\x1aE\xdf\xa3") or start < 4 or not head[start : start + 1].strip(b"\0"):
        return False
    # A Matroska size: the leading zero bits of its first byte tell its length; all ones mean unknown.
    length = 9 - head[start].bit_length()
    unknown = (1 << 7 * length) - 1
    size = int.from_bytes(head[start : start + length], "big") & unknown
    return size != unknown and start + length + size > size_bytes


def _unreadable(head: bytes, name: str) -> NotAVideoError | CorruptVideoError:
    if head[4:8] == b"ftyp" and head[8:12] in _PHOTO_BRANDS:
        hint = "which starts like none of them but like a HEIC photo; convert it to jpeg"
    else:
        hint = "which starts like none of them; convert it to mp4 or webm"
    is_mp4 = head[4:8] in _MP4_BOXES and "HEIC" not in hint
    is_riff = head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WEBP")
    is_stream = len(head) > 376 and {head[0], head[188], head[376]} == {0x47}
    if is_mp4 or is_riff or is_stream or head.startswith(_STARTS):
        return _not_found(name)
    return NotAVideoError(f"Expected {_READABLE}, got {name} {hint}.")


def _not_found(name: str) -> CorruptVideoError:
    return CorruptVideoError(
        f"Expected a video, got {name} whose pictures cannot be found: it is damaged, cut off before its index, "
        "or of an unknown codec; export or upload it again, best as mp4 or webm."
    )
