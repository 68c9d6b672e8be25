"""Look at a video file and refuse what is too large: on its header, and on one frame."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .container import (
    Source,
    Timing,
    choose_track,
    first_frame,
    frame_turn,
    is_cut_off,
    measure_timing,
    name_source,
    open_container,
    open_file,
    read_timing,
    real_file,
    square_size,
)
from .errors import EmptyVideoError, VideoTooLargeError
from .stills import open_picture, picture_turn, shown_pictures


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

    @property
    def max_pixels(self) -> int | None:
        """Pixels of the largest allowed picture."""
        return self.max_width * self.max_height if self.max_width and self.max_height else None

    def check(self, name: str, field: str, value: float | None, unit: str) -> None:
        """Refuse what is over a field, or over `max_frames`.

        Raises:
            VideoTooLargeError: It is.
        """
        limit = getattr(self, field)
        if limit is not None and value is not None and value > limit:
            field = "max_seconds" if field == "max_frames" else field
            raise VideoTooLargeError(
                f"Expected at most {plain_number(limit)} {unit}, got {name} with {plain_number(value)}; "
                f"shorten or shrink the video, or raise {field}.",
                limit=field,
            )

    def check_size(self, name: str, width: int, height: int, *, is_turned: bool = True) -> None:
        """Refuse pictures that are wider or higher than allowed, however they are still going to be turned.

        Raises:
            VideoTooLargeError: They are.
        """
        if is_turned:
            self.check(name, "max_width", width, "pixels wide")
            self.check(name, "max_height", height, "pixels high")
        else:
            looser = max("max_width", "max_height", key=lambda field: getattr(self, field) or math.inf)
            self.check(name, looser, max(width, height), "pixels on a side")

    def check_timing(self, name: str, timing: Timing, pixels: int) -> None:
        """Refuse what has too many frames, is too long or too fast, or has too many pixels in all.

        Raises:
            VideoTooLargeError: It has.
        """
        self.check(name, "max_frames", timing.num_frames, "frames")
        self.check(name, "max_seconds", timing.seconds, "seconds")
        self.check(name, "max_frames_per_second", timing.rate, "frames per second")
        self.check(name, "max_decoded_pixels", (timing.num_frames or 0) * pixels, "pixels in all frames")


def plain_number(number: float) -> str:
    """A number as people write it, without a power of ten."""
    return f"{round(number, 3):.15g}"


DEFAULT_LIMITS = VideoLimits()


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video or still image says; it may be wrong about all but the file's size.

    Attributes:
        path: The file, or `None` for bytes and for files that were passed in.
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
    is_still: bool = False
    num_indexed_frames: int | None = None
    ends_early: bool = False
    track: int = 0


def probe(source: Source, *, limits: VideoLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Read what a video's header says, check it against the limits, and decode one frame to see how it is shown.

    Pictures are probed too, without decoding. An animated GIF, WebP, PNG or AVIF is a video.

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
    path = Path(os.fsdecode(source)) if isinstance(source, str | os.PathLike) else None
    with open_file(source) as stream:
        # Not every file says where it went.
        stream.seek(0, os.SEEK_END)
        size_bytes = stream.tell()
        if size_bytes == 0:
            raise EmptyVideoError(f"Expected a video, got {name} with 0 bytes; copy or upload it again.")
        limits.check(name, "max_bytes", size_bytes, "bytes")
        picture = open_picture(stream)
        if picture is None:
            with real_file(stream) as file:
                return _probe_film(file, path, name, size_bytes, limits)
        limits.check_size(name, *picture.size, is_turned=False)
        width, height = picture_turn(picture).size(*picture.size)
        limits.check_size(name, width, height)
        num_pictures = len(shown_pictures(picture))
        limits.check_timing(name, Timing(num_pictures, None), width * height)
        is_still = num_pictures == 1
        seconds, codec = 0.0 if is_still else None, (picture.format or "").lower()
        return VideoInfo(path, name, size_bytes, width, height, num_pictures, seconds, None, codec, is_still)


def _probe_film(stream: BinaryIO, path: Path | None, name: str, size_bytes: int, limits: VideoLimits) -> VideoInfo:
    with open_container(stream, name, limits.max_pixels) as container:
        track = choose_track(container, name)
        index, stored = track.index, (track.codec_context.width, track.codec_context.height)
        limits.check_size(name, *stored, is_turned=False)
        timing = read_timing(container, track)
        if not timing.is_indexed and (not timing.rate or _is_doubtful(timing, size_bytes, limits)):
            timing = measure_timing(container, track, max_seconds=limits.max_seconds, max_frames=limits.max_frames)
        limits.check_timing(name, timing, math.prod(stored))
        ends_early = is_cut_off(stream, size_bytes, track, timing)
    # Measuring has moved on from the first frame, and some codecs say their size only when nothing limits it.
    with open_container(stream, name) as container:
        track = next(track for track in container.streams.video if track.index == index)
        stored = track.codec_context.width, track.codec_context.height
        limits.check_size(name, *stored, is_turned=False)
        frame = first_frame(container, track, name)
        width, height = frame_turn(frame).size(*square_size(frame, track, stored))
        limits.check_size(name, width, height)
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
            num_indexed_frames=timing.num_frames if timing.is_indexed else None,
            ends_early=ends_early,
            track=index,
        )


def _is_doubtful(timing: Timing, size_bytes: int, limits: VideoLimits) -> bool:
    """Whether a header says what cannot be, as a frame takes a byte, or what would be refused."""
    try:
        limits.check_timing("", timing, 1)
    except VideoTooLargeError:
        return True
    return (timing.num_frames or 0) > size_bytes
