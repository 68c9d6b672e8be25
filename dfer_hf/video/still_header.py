"""The picture size in a still image's own header, read without decoding a pixel."""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_START_OF_SCAN = 0xDA
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274
_MAX_PARTS = 10_000
_MAX_EXIF_BYTES = 64 * 1024


@dataclass(frozen=True)
class StillHeader:
    """What a still image's header says.

    Attributes:
        image_format: Which format: png, jpeg, webp, bmp or tiff.
        width: Stored pixels per row.
        height: Stored rows.
        orientation: EXIF orientation, 1 to 8; from 5 on the picture is shown lying on its side.
    """

    image_format: str
    width: int
    height: int
    orientation: int = 1


def read_still_header(stream: BinaryIO) -> StillHeader | None:
    """Read the size and orientation of a still image.

    Returns:
        The header, or `None` when the file starts like none of the formats read here.

    Raises:
        struct.error: The header breaks off.
    """
    head = stream.read(16)
    stream.seek(0)
    read = _reader_for(head)
    return read(stream) if read else None


def _reader_for(head: bytes) -> Callable[[BinaryIO], StillHeader] | None:
    if head.startswith(_PNG):
        return _read_png
    if head.startswith(_JPEG):
        return _read_jpeg
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _read_webp
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return _read_bmp
    if head[:4] in (b"II*\0", b"MM\0*"):
        return _read_tiff
    return None


def _read_png(stream: BinaryIO) -> StillHeader:
    width, height = struct.unpack(">II", stream.read(24)[16:])
    orientation = 1
    position = len(_PNG)
    for _ in range(_MAX_PARTS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            orientation = _read_orientation(stream.read(min(length, _MAX_EXIF_BYTES)))
        position += 12 + length
    return StillHeader("png", width, height, orientation)


def _read_jpeg(stream: BinaryIO) -> StillHeader:
    orientation = 1
    for marker, body in _iterate_jpeg_segments(stream):
        if marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", body, 1)
            return StillHeader("jpeg", width, height, orientation)
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _read_orientation(body[6:])
    raise struct.error("no picture size before the picture data")


def _iterate_jpeg_segments(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    stream.seek(2)
    for _ in range(_MAX_PARTS):
        fill, marker = struct.unpack(">BB", stream.read(2))
        while marker == 0xFF:
            (marker,) = struct.unpack(">B", stream.read(1))
        if fill != 0xFF or marker == _JPEG_START_OF_SCAN:
            return
        (length,) = struct.unpack(">H", stream.read(2))
        yield marker, stream.read(length - 2 if length > 2 else 0)


def _read_webp(stream: BinaryIO) -> StillHeader:
    first = stream.read(32)
    kind = first[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(first[24:27], "little")
        height = 1 + int.from_bytes(first[27:30], "little")
        return StillHeader("webp", width, height, _read_webp_orientation(stream))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", first, 21)
        return StillHeader("webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", first, 26)
        return StillHeader("webp", width & 0x3FFF, height & 0x3FFF)
    raise struct.error("no picture chunk")


def _read_webp_orientation(stream: BinaryIO) -> int:
    position = 12
    for _ in range(_MAX_PARTS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        if name == b"EXIF":
            return _read_orientation(stream.read(min(length, _MAX_EXIF_BYTES)).removeprefix(b"Exif\0\0"))
        position += 8 + length + length % 2
    return 1


def _read_bmp(stream: BinaryIO) -> StillHeader:
    head = stream.read(26).ljust(26, b"\0")
    is_core_header = struct.unpack_from("<I", head, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if is_core_header else "<ii", head, 18)
    return StillHeader("bmp", abs(width), abs(height))


def _read_tiff(stream: BinaryIO) -> StillHeader:
    tags = _read_tiff_tags(stream)
    if _TIFF_WIDTH not in tags or _TIFF_HEIGHT not in tags:
        raise struct.error("no picture size in the first directory")
    return StillHeader("tiff", tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT], tags.get(_TIFF_ORIENTATION, 1))


def _read_orientation(exif: bytes) -> int:
    """Read the orientation from EXIF data, which is a small TIFF file."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    return _read_tiff_tags(io.BytesIO(exif)).get(_TIFF_ORIENTATION, 1)


def _read_tiff_tags(stream: BinaryIO) -> dict[int, int]:
    """Read the integer tags, of one value each, in the first directory."""
    head = stream.read(8)
    order = "<" if head[:2] == b"II" else ">"
    stream.seek(struct.unpack(f"{order}I", head[4:])[0])
    (num_tags,) = struct.unpack(f"{order}H", stream.read(2))
    tags = {}
    for _ in range(num_tags):
        entry = stream.read(12)
        tag, kind, count = struct.unpack(f"{order}HHI", entry[:8])
        if count == 1 and kind in (3, 4):
            tags[tag] = struct.unpack_from(f"{order}H" if kind == 3 else f"{order}I", entry, 8)[0]
    return tags
