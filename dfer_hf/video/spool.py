"""Keep the frames of one reading in a temporary file, so that they can be drawn on without decoding twice."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType

import cv2
import numpy as np

from .reader import Frame

_JPEG_QUALITY = 95


class FrameSpool:
    """Holds shrunken frames as JPEG in a file without a name, which goes with the spool.

    >>> with FrameSpool(max_side=2) as spool:
    ...     spool.add(Frame(0, 0.0, np.zeros((4, 8, 3), np.uint8)))
    ...     [(frame.rgb.shape, frame.scale) for frame in spool]
    [((1, 2, 3), 4.0)]
    """

    def __init__(self, *, max_side: int) -> None:
        """Set how many pixels the longer side of a kept frame has at most."""
        self._max_side = max_side
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._frames: list[tuple[Frame, int, int]] = []

    def __enter__(self) -> "FrameSpool":
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, position: int) -> Frame:
        frame, start, size = self._frames[position]
        self._file.seek(start)
        data = np.frombuffer(self._file.read(size), np.uint8)
        return replace(frame, rgb=np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)))

    def __iter__(self) -> Iterator[Frame]:
        return map(self.__getitem__, range(len(self)))

    def add(self, frame: Frame) -> None:
        """Keep a frame, shrunken to the spool's size.

        Raises:
            OSError: The disk is full.
        """
        height, width = frame.rgb.shape[:2]
        shrink = max(1.0, max(height, width) / self._max_side)
        rgb = frame.rgb
        if shrink > 1:
            size = max(1, round(width / shrink)), max(1, round(height / shrink))
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
        start = self._file.seek(0, 2)
        self._file.write(data)
        empty = np.empty((0, 0, 3), np.uint8)
        self._frames.append((replace(frame, rgb=empty, scale=frame.scale * shrink), start, len(data)))

    def close(self) -> None:
        """Remove the frames."""
        self._file.close()
