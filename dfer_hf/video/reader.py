"""Read a video as a stream of RGB frames with their times."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import CorruptVideoError, TruncatedVideoWarning, VideoTooLargeError
from .probe import DEFAULT_LIMITS, VideoInfo, VideoLimits, check_size, open_capture, probe

# OpenCV says "no frame" for a damaged packet as for the end; only after this many in a row it is the end.
_MAX_DAMAGED_PACKETS = 250
_ASSUMED_FRAMES_PER_SECOND = 25.0
# Indexes and durations are a little off in sound files too; a tenth is more than that.
_EXPECTED_SHARE = 0.9
_DURATION_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        index: Position in the video, from 0.
        time_seconds: When it is shown, counted from the first frame.
        rgb: uint8 array of shape (height, width, 3), as shown.
        scale: Original pixels per pixel of `rgb`; 1 unless the frame was shrunk.
    """

    index: int
    time_seconds: float
    rgb: np.ndarray
    scale: float = 1.0


def read_frames(
    path: str | os.PathLike[str],
    *,
    limits: VideoLimits = DEFAULT_LIMITS,
    max_side: int | None = None,
) -> Iterator[Frame]:
    """Decode a video or still image frame by frame, holding one frame at a time.

    The file is probed at once, and released after the last frame or when the iterator is closed. What the
    header says about the number of frames is not relied on. A change of size within the video is scaled to
    its first size. Transparency is dropped and 16-bit images become 8-bit.

    Args:
        limits: What to refuse. They are checked against the header and again while decoding.
        max_side: Shrink each frame so that its longer side has at most this many pixels.

    Raises:
        ValueError: `max_side` is not positive.
        VideoError: As in `probe`; `VideoTooLargeError` may also come after the frames within the limits, and
            `CorruptVideoError` when no frame can be decoded.

    Warns:
        TruncatedVideoWarning: After the last frame, when part of the file could not be decoded.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"Expected max_side of at least 1 pixel or None, got {max_side}; choose e.g. 640.")
    return _read_frames(probe(path, limits=limits), limits, max_side)


def _read_frames(info: VideoInfo, limits: VideoLimits, max_side: int | None) -> Iterator[Frame]:
    path = info.path
    if info.is_still:
        rgb, scale = _shrink(_decode_still(path), max_side)
        yield Frame(0, 0.0, rgb, scale)
        return
    clock = _Clock(info)
    num_gaps = index = 0
    with open_capture(path) as capture:
        while (num_damaged := _grab_next(capture)) is not None:
            time_seconds = clock.time_seconds(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            _check_progress(path, index, time_seconds, limits=limits)
            retrieved, bgr = capture.retrieve()
            if not retrieved:
                num_gaps += 1
                continue
            num_gaps += num_damaged > 0
            check_size(path, bgr.shape[1], bgr.shape[0], limits=limits)
            bgr, scale = _shrink(bgr, max_side)
            yield Frame(index, time_seconds, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), scale)
            index += 1
    if index == 0:
        raise _nothing_decodable(path)
    _warn_if_incomplete(info, index, clock.last_seconds, num_gaps)


def _grab_next(capture: cv2.VideoCapture) -> int | None:
    """Decode on to the next frame; return how many packets were damaged before it, or `None` at the end."""
    for num_damaged in range(_MAX_DAMAGED_PACKETS):
        if capture.grab():
            return num_damaged
    return None


class _Clock:
    """Turns a container's time stamps into seconds from the first frame that never run backwards."""

    def __init__(self, info: VideoInfo) -> None:
        self._step_seconds = 1 / (info.frames_per_second or _ASSUMED_FRAMES_PER_SECOND)
        self._first_stamp: float | None = None
        self.last_seconds = 0.0

    def time_seconds(self, stamp_seconds: float) -> float:
        """Return the time of the next frame; one without a stamp of its own follows at the last distance."""
        if self._first_stamp is None:
            self._first_stamp = stamp_seconds
            return 0.0
        following = self.last_seconds + self._step_seconds
        seconds = stamp_seconds - self._first_stamp
        if stamp_seconds == 0:  # OpenCV's word for "no time stamp"
            seconds = following
        elif seconds < self.last_seconds:  # joined recordings start counting anew
            self._first_stamp = stamp_seconds - following
            seconds = following
        if seconds > self.last_seconds:
            self._step_seconds = seconds - self.last_seconds
        self.last_seconds = seconds
        return seconds


def _check_progress(path: Path, index: int, time_seconds: float, *, limits: VideoLimits) -> None:
    over_time = limits.max_seconds is not None and time_seconds > limits.max_seconds
    over_count = limits.max_frames is not None and index >= limits.max_frames
    if over_time or over_count:
        allowed = f"{limits.max_seconds:g} seconds" if over_time else f"{limits.max_frames} frames"
        raise VideoTooLargeError(
            f"Expected at most {allowed}, got {path.name!r} which goes on after them although its header "
            "does not say so; shorten the video or raise the limit in VideoLimits."
        )


def _shrink(picture: np.ndarray, max_side: int | None) -> tuple[np.ndarray, float]:
    height, width = picture.shape[:2]
    longer = max(height, width)
    if max_side is None or longer <= max_side:
        return picture, 1.0
    scale = longer / max_side
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), scale


def _decode_still(path: Path) -> np.ndarray:
    data = np.fromfile(path, dtype=np.uint8)
    try:
        rgb = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise _nothing_decodable(path) from error
    if rgb is None:
        raise _nothing_decodable(path)
    return rgb


def _nothing_decodable(path: Path) -> CorruptVideoError:
    return CorruptVideoError(
        f"Expected decodable frames, got none from {path.name!r}: it is damaged or of an unknown codec; "
        "export or upload it again, best as mp4 or webm, or as an 8-bit image."
    )


def _warn_if_incomplete(info: VideoInfo, num_decoded: int, last_seconds: float, num_gaps: int) -> None:
    problems = []
    if info.ends_early:
        problems.append("the file ends before its structure does")
    if num_gaps:
        problems.append(f"{num_gaps} stretches in between could not be decoded")
    if num_decoded < _EXPECTED_SHARE * (info.num_indexed_frames or 0):
        problems.append(f"its index lists {info.num_indexed_frames} frames")
    if info.num_indexed_frames is None and info.duration_seconds is not None:
        expected_seconds = _EXPECTED_SHARE * info.duration_seconds - _DURATION_TOLERANCE_SECONDS
        if last_seconds < expected_seconds:
            problems.append(f"its header says {info.duration_seconds:g} seconds")
    if problems:
        warnings.warn(
            f"Expected all of {info.path.name!r}, got {num_decoded} frames up to {last_seconds:.2f} seconds: "
            f"{', '.join(problems)}; export or upload it again if the rest matters.",
            TruncatedVideoWarning,
            stacklevel=3,
        )
