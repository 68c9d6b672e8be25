"""The eight ways in which a stored picture can be turned and mirrored before it is shown."""

import struct
from typing import NamedTuple

import numpy as np


class Turn(NamedTuple):
    """Swap rows and columns, then mirror left and right, then turn upside down."""

    swap: bool = False
    mirror: bool = False
    flip: bool = False

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Return the picture of shape (height, width, 3) as shown."""
        if self.swap:
            picture = picture.swapaxes(0, 1)
        if self.mirror:
            picture = picture[:, ::-1]
        if self.flip:
            picture = picture[::-1]
        return np.ascontiguousarray(picture) if any(self) else picture

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height as shown of a stored size, or the stored ones of a shown size."""
        return (height, width) if self.swap else (width, height)


_FLAGS = ("000", "010", "011", "001", "100", "110", "111", "101")
_EXIF_TURNS = tuple(Turn(*(flag == "1" for flag in flags)) for flags in _FLAGS)
QUARTER_TURNS = tuple(_EXIF_TURNS[orientation - 1] for orientation in (1, 6, 3, 8))
"""By how many right angles clockwise the picture is turned."""


def turn_of_orientation(orientation: object) -> Turn:
    """Read an EXIF orientation, 1 to 8; anything else is as stored."""
    if isinstance(orientation, int) and 1 <= orientation <= len(_EXIF_TURNS):
        return _EXIF_TURNS[orientation - 1]
    return Turn()


def turn_of_matrix(matrix: bytes) -> Turn:
    """Read FFmpeg's display matrix, nine int32, and round it to quarter turns.

    A stored point (x, y) is shown at (a x + c y, b x + d y), where the matrix starts with a, b, 0, c, d.
    """
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(mirror=a < 0, flip=d < 0)
    return Turn(swap=True, mirror=c < 0, flip=b < 0)
