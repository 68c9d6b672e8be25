"""Write WebM videos, which browsers play."""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from .errors import UnsupportedSuffixError, VideoWriteError

# Of what OpenCV's wheel can write, browsers play VP8 and VP9; VP8 is five times as fast at the same quality.
_CODEC = "VP80"
# OpenCV drops frames of 2x2 pixels without a word.
_MIN_SIDE = 4


class VideoWriter:
    """Write RGB frames to a WebM file, at best within a `with` statement.

    The first frame sets the size. Where it is odd, the last column or row is doubled, as the codec wants even
    sizes.
    """

    def __init__(self, path: str | os.PathLike[str], *, frames_per_second: float) -> None:
        """Check the name and the rate; the file is made with the first frame.

        Raises:
            UnsupportedSuffixError: The name does not end in `.webm`.
            ValueError: The frame rate is not a positive number.
        """
        self.path = Path(path)
        if self.path.suffix.lower() != ".webm":
            raise UnsupportedSuffixError(
                f"Expected a name ending in .webm, got {self.path.name!r}; only WebM is written."
            )
        if not math.isfinite(frames_per_second) or frames_per_second <= 0:
            raise ValueError(
                f"Expected frames_per_second to be finite and above 0, got {frames_per_second}; 25 is usual."
            )
        self.frames_per_second = frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, rgb: np.ndarray) -> None:
        """Append a frame, a uint8 array of shape (height, width, 3).

        Raises:
            ValueError: The array is no such frame, or of another size than the first.
            VideoWriteError: The file cannot be made.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < _MIN_SIDE:
            raise ValueError(
                f"Expected a uint8 RGB frame of shape (height, width, 3), both at least {_MIN_SIDE}, "
                f"got {rgb.dtype} of shape {rgb.shape}; convert it first."
            )
        writer = self._writer
        if writer is None:
            writer = self._writer = self._open(rgb.shape)
            self._shape = rgb.shape
        if rgb.shape != self._shape:
            raise ValueError(
                f"Expected every frame to have the first one's shape {self._shape}, got {rgb.shape}; "
                "resize it."
            )
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        height, width = rgb.shape[:2]
        if height % 2 or width % 2:
            bgr = cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        writer.write(bgr)

    def close(self) -> None:
        """Finish the file; without a frame there is none."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _open(self, shape: tuple[int, ...]) -> cv2.VideoWriter:
        height, width = (side + side % 2 for side in shape[:2])
        codec = cv2.VideoWriter.fourcc(*_CODEC)
        # Absolute, as FFmpeg takes a name like "a:b.webm" for an address.
        name = str(self.path.absolute())
        writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, codec, self.frames_per_second, (width, height))
        if not writer.isOpened():
            raise VideoWriteError(
                f"Expected to write {self.path.name!r} at {width}x{height} pixels, got no file from OpenCV; "
                "check that the folder exists and is writable and that the size is below 16384."
            )
        return writer


def write_video(
    path: str | os.PathLike[str], frames: Iterable[np.ndarray], *, frames_per_second: float
) -> None:
    """Write RGB frames, uint8 arrays of shape (height, width, 3), to a WebM file.

    Raises:
        VideoError: As in `VideoWriter`, and `VideoWriteError` when there is no frame.
        ValueError: As in `VideoWriter`.
    """
    num_frames = 0
    with VideoWriter(path, frames_per_second=frames_per_second) as writer:
        for rgb in frames:
            writer.write(rgb)
            num_frames += 1
    if num_frames == 0:
        raise VideoWriteError(f"Expected at least one frame for {Path(path).name!r}, got none; pass some.")
