"""Still images and animated pictures, read with Pillow."""

import importlib
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import IO, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from .turns import Turn, turn_of_orientation

# Each is recognised by its first bytes. GIF goes through FFmpeg, and EPS would start Ghostscript.
_FORMATS = {
    "PNG": "Png", "JPEG": "Jpeg", "WEBP": "WebP", "AVIF": "Avif", "TIFF": "Tiff", "BMP": "Bmp", "JPEG2000": "Jpeg2K",
    "PPM": "Ppm", "ICO": "Ico", "ICNS": "Icns", "PSD": "Psd", "QOI": "Qoi", "DDS": "Dds",
}  # fmt: skip
"""Pillow's name of a format to that of its module."""

_ANIMATED_FORMATS = ("AVIF", "PNG", "WEBP")
_ORIENTATION = 274
# What browsers show a picture for that asks for less than they draw.
_SHORTEST_SECONDS, _USUAL_SECONDS = 0.011, 0.1
_VALUE_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, struct.error)
PICTURE_ERRORS = (OSError, EOFError, SyntaxError, RuntimeError, UserWarning, *_VALUE_ERRORS)
"""What Pillow raises on damaged files; it warns of some, which Python may be told to raise."""

BREAKS_OFF = "breaks off"
"""Key of `Image.info` where the end of a picture is missing."""


def open_picture(stream: BinaryIO) -> Image.Image | None:
    """Read the header of a still image or of an animated AVIF, PNG or WebP, without a limit on its size.

    Returns:
        The picture, not decoded yet, or `None` when the file is none, such as a stream of motion JPEG.
    """
    stream.seek(0)
    head = stream.read(32)
    for name, plugin in _FORMATS.items():
        # One by one, because loading all that Pillow knows takes several times as long.
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
        factory, accept = Image.OPEN.get(name, (None, None))
        # The text that some give instead of True says that this Pillow was built without the format.
        if factory is None or accept is None or accept(head) is not True:
            continue
        stream.seek(0)
        try:
            picture = factory(stream, "")
        except PICTURE_ERRORS:
            continue
        return None if name == "JPEG" and _is_motion_jpeg(stream, picture) else picture
    return None


def shown_pictures(picture: Image.Image) -> range:
    """Which of its pictures make up the animation: no further page, size or thumbnail, nor the cover of a PNG."""
    count = getattr(picture, "n_frames", 1) if picture.format in _ANIMATED_FORMATS else 1
    return range(int(count > 1 and getattr(picture, "default_image", False)), count)


def has_more_pages(picture: Image.Image) -> bool:
    """Whether pages of a TIFF follow the first."""
    try:
        picture.seek(1)
    except PICTURE_ERRORS:
        return False
    return picture.format == "TIFF"


def picture_turn(picture: Image.Image) -> Turn:
    """Read how the picture is to be turned when shown, without decoding it."""
    # Pillow turns a TIFF itself, and decodes a PNG to look for what may stand behind the pixels.
    if picture.format == "TIFF" or (picture.format == "PNG" and "exif" not in picture.info):
        return Turn()
    try:
        return turn_of_orientation(picture.getexif().get(_ORIENTATION))
    except PICTURE_ERRORS:
        return Turn()


def decode_pictures(picture: Image.Image) -> Iterator[tuple[Image.Image, float]]:
    """Decode each picture to RGB as stored, with the seconds since the first.

    Raises:
        PICTURE_ERRORS: What cannot be decoded.
    """
    seconds = 0.0
    for index in shown_pictures(picture):
        if index:
            picture.seek(index)
        yield to_rgb(picture), seconds
        duration = picture.info.get("duration") or 0
        seconds += duration / 1000 if duration / 1000 >= _SHORTEST_SECONDS else _USUAL_SECONDS


def to_rgb(picture: Image.Image) -> Image.Image:
    """Make 8-bit RGB of any mode and drop the transparency."""
    try:
        picture.load()
    except OSError:
        if picture.format != "JPEG" or not isinstance(picture, ImageFile.ImageFile) or picture.fp is None:
            raise
        picture = _fill_up(picture.fp)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        highest = 65535 if picture.mode.startswith("I;16") else float(values.max(initial=0))
        # Whole numbers above 255 have 16 bits; other ranges end at 1, 255, or somewhere above.
        highest = max(highest, 65535 if highest > 255 and picture.mode[0] == "I" else 255 if highest > 1 else 1)
        return Image.fromarray((values.clip(0) * (255 / highest)).astype(np.uint8)).convert("RGB")
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.upper())
    # Pillow warns of palettes whose colours are partly transparent unless they pass through RGBA.
    return (picture.convert("RGBA") if "transparency" in picture.info else picture).convert("RGB")


def _fill_up(stream: IO[bytes]) -> Image.Image:
    """Decode a JPEG that breaks off as other viewers do: what is missing is grey, and `info` says so."""
    stream.seek(0)
    whole = Image.OPEN["JPEG"][0](BytesIO(stream.read() + b"\xff\xd9"), "")
    whole.load()
    whole.info[BREAKS_OFF] = True
    return whole


def _is_motion_jpeg(stream: BinaryIO, picture: Image.Image) -> bool:
    """Whether another picture of the same size follows at once, other than the extra ones of cameras."""
    if "mp" in picture.info or picture.format != "JPEG":
        return False
    stream.seek(0)
    data = stream.read()
    start = data.find(b"\xff\xd9\xff\xd8\xff") + 2
    try:
        return start > 1 and Image.OPEN["JPEG"][0](BytesIO(data[start:]), "").size == picture.size
    except PICTURE_ERRORS:
        return False
