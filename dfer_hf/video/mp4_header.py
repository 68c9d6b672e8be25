"""The header of MP4, MOV and 3GP files: nested boxes of (size, name, body)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from .containers import ContainerHeader

_NESTING_BOXES = (b"trak", b"mdia", b"minf", b"stbl", b"edts")
# Enough for a fragmented file of an hour; a crafted one with millions of empty boxes stops here.
_MAX_BOXES = 20_000


class _Box(NamedTuple):
    name: bytes
    start: int
    end: int


@dataclass
class _Track:
    handler: bytes = b""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    num_samples: int = 0
    media_seconds: float = 0.0
    edited_units: int | None = None


def read_mp4_header(stream: BinaryIO, size_bytes: int) -> ContainerHeader:
    """Read picture sizes, the number of indexed frames and completeness from the boxes.

    A rotation is not applied to the sizes.
    """
    tracks: list[_Track] = []
    units_per_second = 0
    ends_early = False
    for box in _iterate_boxes(stream, 0, size_bytes):
        ends_early = box.end > size_bytes
        if box.name != b"moov":
            continue
        for child in _iterate_boxes(stream, box.start, min(box.end, size_bytes)):
            if child.name == b"mvhd":
                units_per_second = _read_time_fields(stream, child)[0]
            elif child.name == b"trak":
                tracks.append(_read_track(stream, child))
    videos = [track for track in tracks if track.handler == b"vide"]
    sizes = [size for track in videos for size in track.sizes]
    return ContainerHeader(
        container="mp4",
        has_video=bool(videos) if tracks else None,
        width=max((width for width, _ in sizes), default=None),
        height=max((height for _, height in sizes), default=None),
        num_indexed_frames=_num_shown_frames(videos[0], units_per_second) if videos else None,
        states_frame_rate=True,
        ends_early=ends_early,
    )


def _iterate_boxes(stream: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    position = start
    for _ in range(_MAX_BOXES):
        stream.seek(position)
        head = stream.read(16)
        if position + 8 > end or len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        body = position + 8
        if size == 1 and len(head) == 16:
            size, body = struct.unpack_from(">Q", head, 8)[0], position + 16
        elif size == 0:
            size = end - position
        if size < body - position:
            return
        yield _Box(name, body, position + size)
        position += size


def _read_track(stream: BinaryIO, track_box: _Box) -> _Track:
    track = _Track()
    waiting = [track_box]
    while waiting:
        parent = waiting.pop()
        for box in _iterate_boxes(stream, parent.start, parent.end):
            if box.name in _NESTING_BOXES:
                waiting.append(box)
            else:
                _read_track_box(stream, box, track)
    return track


def _read_track_box(stream: BinaryIO, box: _Box, track: _Track) -> None:
    stream.seek(box.start)
    if box.name == b"hdlr" and track.handler not in (b"vide", b"soun"):
        track.handler = stream.read(12)[8:]
    elif box.name == b"stsd":
        entry = stream.read(44)
        if len(entry) == 44:
            track.sizes.append(struct.unpack_from(">HH", entry, 40))
    elif box.name == b"stsz":
        body = stream.read(12)
        track.num_samples = struct.unpack_from(">I", body, 8)[0] if len(body) == 12 else 0
    elif box.name == b"mdhd":
        units_per_second, units = _read_time_fields(stream, box)
        track.media_seconds = units / units_per_second if units_per_second else 0.0
    elif box.name == b"elst":
        track.edited_units = _read_edited_units(stream, box)


def _read_time_fields(stream: BinaryIO, box: _Box) -> tuple[int, int]:
    """Return units per second and the duration in units, of an `mvhd` or `mdhd` box."""
    stream.seek(box.start)
    body = stream.read(32).ljust(32, b"\0")
    return struct.unpack_from(">IQ", body, 20) if body[0] == 1 else struct.unpack_from(">II", body, 12)


def _read_edited_units(stream: BinaryIO, box: _Box) -> int:
    body = stream.read(min(box.end - box.start, 64 * 1024))
    if len(body) < 8:
        return 0
    layout, step = (">Qq", 20) if body[0] == 1 else (">Ii", 12)
    starts = range(8, len(body) - step + 1, step)
    edits = [struct.unpack_from(layout, body, position) for position in starts]
    # An edit from media time -1 is a pause, not frames.
    return sum(units for units, media_time in edits if media_time >= 0)


def _num_shown_frames(track: _Track, units_per_second: int) -> int | None:
    """Count the indexed frames that the edit list shows: phones trim a clip by hiding its ends."""
    if not track.num_samples:
        return None
    if not (track.edited_units and units_per_second and track.media_seconds):
        return track.num_samples
    shown = min(1.0, track.edited_units / units_per_second / track.media_seconds)
    return round(track.num_samples * shown)
