"""Whatever has frames, as a stream of them: files, bytes, pictures, arrays, and iterators of a camera."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from .probe import DEFAULT_LIMITS, VideoLimits, probe
from .reader import Frame, read_frames
from .stills import to_rgb

_VIDEO, _FRAMES = "the video", "the frames"
"""What messages call what has no name."""


@dataclass(frozen=True)
class VideoSource:
    """Frames that can be read.

    Args:
        name: What messages and predictions call it.
        duration_seconds: Playing time, where it is known before.
        read: Starts to read.
        can_be_read_again: Whether `read` works more than once.
    """

    name: str
    duration_seconds: float | None
    read: Callable[[], Iterator[Frame]]
    can_be_read_again: bool = True

    @property
    def quoted(self) -> str:
        """The name as messages have it: in quotation marks where it is one."""
        mark = '"' if "'" in self.name else "'"
        return self.name if self.name in (_VIDEO, _FRAMES) else f"{mark}{self.name}{mark}"


def open_source(
    source: Any,
    *,
    limits: VideoLimits = DEFAULT_LIMITS,
    frames_per_second: float | None = None,
    name: str | None = None,
    max_side: int | None = None,
    warn: Callable[[str], None] | None = None,
) -> VideoSource:
    """Find out what a source is, and check a file's header.

    Args:
        source: A path, the bytes of a file, a binary file that can seek, a PIL picture as it stands, an RGB picture
            `(height, width, 3)`, frames `(num_frames, height, width, 3)` or a list of them, or an iterator of frames,
            as of a camera. Arrays are uint8. Frames that are `Frame` already bring their own time and scale.
        limits: What to refuse of files.
        frames_per_second: Rate of frames that are given as arrays, finite and above 0.
        name: What messages and predictions call it; the file's name when left out.
        max_side: Shrink each frame so that its longer side has at most this many pixels.
        warn: Called with each sentence about what is odd in a file.

    Raises:
        VideoError: As in `probe`.
        ValueError: If an array is no frames, several come without their rate, or a rate, a time or a file object is
            none that frames can have.
    """
    if frames_per_second is not None and not 0 < frames_per_second < math.inf:
        raise ValueError(
            f"Expected `frames_per_second` to be finite and above 0, got {frames_per_second}; 25 is usual."
        )
    if isinstance(source, Image.Image) or (isinstance(source, np.ndarray) and source.ndim == 3):
        source, frames_per_second = [source], frames_per_second or 1.0
    elif isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "seek"):
        file: Any = bytes(source) if isinstance(source, bytearray | memoryview) else source
        if hasattr(source, "seek"):
            _check_file(source)
        info = probe(file, limits=limits)
        return VideoSource(
            name or (info.path.name if info.path else _VIDEO),
            info.duration_seconds,
            lambda: read_frames(file, limits=limits, max_side=max_side, warn=warn),
        )
    is_kept = isinstance(source, Sequence | np.ndarray)
    if not isinstance(source, Iterable):
        raise ValueError(f"Expected a path, bytes, a binary file, a picture or frames, got {type(source).__name__}.")
    duration = len(source) / frames_per_second if is_kept and frames_per_second else None
    read = lambda: _number(source, frames_per_second, max_side)  # noqa: E731
    return VideoSource(name or _FRAMES, duration, read, can_be_read_again=is_kept)


def _number(frames: Iterable[Any], frames_per_second: float | None, max_side: int | None) -> Iterator[Frame]:
    """Give frames their place, their time and the working size."""
    before = -math.inf
    for index, frame in enumerate(frames):
        shrunk = 1.0
        if isinstance(frame, Frame):
            rgb, seconds, shrunk = frame.rgb, frame.time_seconds, frame.scale
            if not (math.isfinite(seconds) and before <= seconds):
                raise ValueError(
                    f"Expected frames in the order of their times, got one at {seconds} s after {before} s; sort them."
                )
            before = seconds
        else:
            rgb = np.asarray(to_rgb(ImageOps.exif_transpose(frame)) if isinstance(frame, Image.Image) else frame)
            if index and not frames_per_second:
                raise ValueError(
                    "Expected `frames_per_second` with several frames, got none. Say how fast they follow each other."
                )
            seconds = index / (frames_per_second or 1.0)
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise ValueError(
                f"Expected RGB frames, uint8 of shape (height, width, 3), got {rgb.dtype}, {rgb.shape}; convert them."
            )
        scale = 1.0 if max_side is None else max(1.0, max(rgb.shape[:2]) / max_side)
        if scale > 1:
            size = (max(1, round(rgb.shape[1] / scale)), max(1, round(rgb.shape[0] / scale)))
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        yield Frame(index, seconds, rgb, scale * shrunk)


def _check_file(file: Any) -> None:
    """Refuse a file object that cannot be read as bytes from any place.

    Raises:
        ValueError: It cannot.
    """
    said = f"Expected a binary file that can seek, got {type(file).__name__}"
    if isinstance(file.read(0), str):
        raise ValueError(f"{said}, which gives text; open it with the mode 'rb'.")
    # Not every file says whether it can.
    if not getattr(file, "seekable", lambda: True)():
        raise ValueError(f"{said}, which cannot; read it, and pass the bytes.")
