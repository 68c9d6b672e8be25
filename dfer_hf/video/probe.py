"""Look at a video file and refuse what is too large, before a frame is decoded."""

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2

from .containers import (
    SNIFFED_BYTES,
    ContainerHeader,
    read_asf_header,
    read_avi_header,
    read_gif_header,
    read_ogg_header,
    sniff_audio,
    sniff_container,
)
from .errors import (
    AudioOnlyError,
    CorruptVideoError,
    EmptyVideoError,
    NotAVideoError,
    VideoNotFoundError,
    VideoTooLargeError,
)
from .matroska_header import read_matroska_header
from .mp4_header import read_mp4_header
from .still_header import StillHeader, read_still_header

_READABLE = (
    "mp4, mov, webm, mkv, avi, gif, mpeg, flv, ogv or wmv video, or a png, jpeg, webp, bmp or tiff image"
)
# FFmpeg guesses a rate from time stamps where none is stated, and guesses 1000 for many browser recordings.
_HIGHEST_GUESSED_RATE = 240
# Each decoding thread holds frames of its own.
_MAX_DECODING_THREADS = 4


@dataclass(frozen=True)
class VideoLimits:
    """What is refused as too large; `None` means no limit.

    Attributes:
        max_bytes: Size of the file.
        max_seconds: Playing time.
        max_width: Pixels from left to right, as shown.
        max_height: Pixels from top to bottom, as shown.
        max_frames_per_second: Mean frame rate. With `max_seconds` it also bounds the number of frames.
    """

    max_bytes: int | None = 500_000_000
    max_seconds: float | None = 600.0
    max_width: int | None = 4096
    max_height: int | None = 4096
    max_frames_per_second: float | None = 120.0

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
        path: The file.
        size_bytes: Size of the file.
        width: Pixels from left to right as shown, that is after rotation.
        height: Pixels from top to bottom as shown.
        num_frames: Number of frames, or `None` when the header does not say or cannot be right.
        duration_seconds: Playing time, or `None`; 0 for a still.
        frames_per_second: Mean frame rate, or `None` when the header does not say, and for a still.
        rotation_degrees: Clockwise turn from the stored to the shown picture, for videos.
        codec: Four-character code of the codec, or the format of a still.
        is_still: Whether this is a still image, read as a video of one frame.
        num_indexed_frames: Frames that the file's index lists, or `None` when it has no index.
        ends_early: Whether the file is shorter than its own structure says.
    """

    path: Path
    size_bytes: int
    width: int
    height: int
    num_frames: int | None
    duration_seconds: float | None
    frames_per_second: float | None
    rotation_degrees: int
    codec: str
    is_still: bool
    num_indexed_frames: int | None = None
    ends_early: bool = False


def probe(path: str | os.PathLike[str], *, limits: VideoLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Read what a video's header says and check it against the limits, without decoding it.

    Still images are probed too. An animated GIF is a video; an animated WebP or PNG is a still: its first
    frame.

    Raises:
        VideoNotFoundError: There is no such file.
        EmptyVideoError: The file has no bytes.
        NotAVideoError: It is not a regular file, or of no kind that is read here.
        AudioOnlyError: It holds sound without pictures.
        VideoTooLargeError: It is over one of the limits.
        CorruptVideoError: Its header cannot be read.
    """
    path = Path(path)
    size_bytes = _check_file(path, limits)
    with path.open("rb") as stream:
        try:
            header = read_still_header(stream) or _read_container_header(stream, path, size_bytes)
        except struct.error as error:
            raise CorruptVideoError(
                f"Expected a complete header, got {path.name!r} whose header breaks off ({error}); "
                "copy or upload it again."
            ) from error
    if isinstance(header, StillHeader):
        return _describe_still(path, size_bytes, header, limits=limits)
    _check_header(path, header, size_bytes, limits=limits)
    return _describe_video(path, size_bytes, header, limits=limits)


@contextmanager
def open_capture(path: Path) -> Iterator[cv2.VideoCapture]:
    """Open a video for FFmpeg and release it in the end, whatever happens.

    FFmpeg is given the bytes and never the name, as a name can be an address or a pattern for other files.
    The capture may be closed (`isOpened()` is false) when FFmpeg can make nothing of the bytes.
    """
    num_threads = min(_MAX_DECODING_THREADS, os.cpu_count() or 1)
    with path.open("rb") as stream:
        parameters = [cv2.CAP_PROP_N_THREADS, num_threads]
        # OpenCV's type stubs leave out that it reads from Python's binary files.
        capture = cv2.VideoCapture(stream, cv2.CAP_FFMPEG, parameters)  # pyright: ignore
        try:
            yield capture
        finally:
            capture.release()


def check_size(path: Path, width: int, height: int, *, limits: VideoLimits) -> None:
    """Refuse pictures that are wider or higher than allowed.

    Raises:
        VideoTooLargeError: They are.
    """
    _check_limit(path, width, limits.max_width, "pixels wide")
    _check_limit(path, height, limits.max_height, "pixels high")


def _check_file(path: Path, limits: VideoLimits) -> int:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise VideoNotFoundError(
            f"Expected a video file, found none named {path.name!r}; check the path. "
            "Addresses on the network are not opened: download the video first."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise NotAVideoError(
            f"Expected a video file, got {path.name!r} which is no regular file; name one file."
        )
    if status.st_size == 0:
        raise EmptyVideoError(f"Expected a video, got {path.name!r} with 0 bytes; copy or upload it again.")
    _check_limit(path, status.st_size, limits.max_bytes, "bytes")
    return status.st_size


def _check_limit(path: Path, value: float, limit: float | None, unit: str) -> None:
    if limit is not None and value > limit:
        raise VideoTooLargeError(
            f"Expected at most {limit:g} {unit}, got {path.name!r} with {value:g}; "
            "shorten or shrink the video, or raise the limit in VideoLimits."
        )


def _read_container_header(stream: BinaryIO, path: Path, size_bytes: int) -> ContainerHeader:
    stream.seek(0)
    head = stream.read(SNIFFED_BYTES)
    stream.seek(0)
    match sniff_container(head):
        case "mp4":
            return read_mp4_header(stream, size_bytes)
        case "matroska":
            return read_matroska_header(stream, size_bytes)
        case "avi":
            return read_avi_header(stream, size_bytes)
        case "gif":
            return read_gif_header(stream, size_bytes)
        case "asf":
            return read_asf_header(stream)
        case "ogg":
            return read_ogg_header(stream)
        case None if sniff_audio(head):
            raise _audio_only(path)
        case None:
            raise NotAVideoError(
                f"Expected {_READABLE}, got {path.name!r} which starts like none of "
                "them; convert it to mp4 or webm."
            )
        case container:
            return ContainerHeader(container=container)


def _audio_only(path: Path) -> AudioOnlyError:
    return AudioOnlyError(f"Expected a video, got {path.name!r} with sound but no pictures; choose a video.")


def _check_header(path: Path, header: ContainerHeader, size_bytes: int, *, limits: VideoLimits) -> None:
    if header.has_video is False:
        raise _audio_only(path)
    # The rotation is not known yet, so both sides may be as long as the longer limit.
    if limits.max_width is not None and limits.max_height is not None:
        longer = max(limits.max_width, limits.max_height)
        _check_limit(path, max(header.width or 0, header.height or 0), longer, "pixels on a side")
    # Before FFmpeg makes its own, larger table of them.
    if limits.max_frames is not None and (header.num_indexed_frames or 0) <= size_bytes:
        _check_limit(path, header.num_indexed_frames or 0, limits.max_frames, "frames")


def _describe_still(path: Path, size_bytes: int, still: StillHeader, *, limits: VideoLimits) -> VideoInfo:
    lies_on_its_side = 5 <= still.orientation <= 8
    width, height = (still.height, still.width) if lies_on_its_side else (still.width, still.height)
    check_size(path, width, height, limits=limits)
    return VideoInfo(
        path=path,
        size_bytes=size_bytes,
        width=width,
        height=height,
        num_frames=1,
        duration_seconds=0.0,
        frames_per_second=None,
        rotation_degrees=0,
        codec=still.image_format,
        is_still=True,
    )


def _describe_video(
    path: Path, size_bytes: int, header: ContainerHeader, *, limits: VideoLimits
) -> VideoInfo:
    with open_capture(path) as capture:
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if not capture.isOpened() or width <= 0 or height <= 0:
            raise CorruptVideoError(
                f"Expected a video, got {path.name!r} whose pictures cannot be found: it is damaged, cut off "
                "before its index, or of an unknown codec; export or upload it again, best as mp4 or webm."
            )
        rate = capture.get(cv2.CAP_PROP_FPS)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rotation_degrees = int(capture.get(cv2.CAP_PROP_ORIENTATION_META))
        codec = (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little")
    rate = _believable_rate(rate, header)
    num_frames = _believable_count(count, rate, size_bytes)
    duration_seconds = header.duration_seconds
    if duration_seconds is None and num_frames is not None and rate is not None:
        duration_seconds = num_frames / rate
    check_size(path, width, height, limits=limits)
    _check_limit(path, duration_seconds or 0, limits.max_seconds, "seconds")
    if header.states_frame_rate:
        _check_limit(path, rate or 0, limits.max_frames_per_second, "frames per second")
    return VideoInfo(
        path=path,
        size_bytes=size_bytes,
        width=width,
        height=height,
        num_frames=num_frames,
        duration_seconds=duration_seconds,
        frames_per_second=rate,
        rotation_degrees=rotation_degrees,
        codec=codec.decode("latin-1").strip("\0 "),
        is_still=False,
        num_indexed_frames=header.num_indexed_frames,
        ends_early=header.ends_early,
    )


def _believable_rate(rate: float, header: ContainerHeader) -> float | None:
    if not math.isfinite(rate) or rate <= 0:
        return None
    return rate if header.states_frame_rate or rate <= _HIGHEST_GUESSED_RATE else None


def _believable_count(count: float, rate: float | None, size_bytes: int) -> int | None:
    # A frame takes at least a byte, so a header that counts more frames than bytes says nothing.
    if rate is None or not 0 < count <= size_bytes:
        return None
    return int(count)
