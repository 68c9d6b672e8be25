"""The header of WebM and Matroska files: nested EBML elements of (number, size, body)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from .containers import ContainerHeader

_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_INFO = 0x1549A966
_TIMESTAMP_SCALE = 0x2AD7B1
_DURATION = 0x4489
_TRACKS = 0x1654AE6B
_TRACK_ENTRY = 0xAE
_TRACK_TYPE = 0x83
_DEFAULT_DURATION = 0x23E383
_VIDEO = 0xE0
_PIXEL_WIDTH = 0xB0
_PIXEL_HEIGHT = 0xBA
_VIDEO_TRACK = 1
_MAX_ELEMENTS = 10_000


class _Element(NamedTuple):
    number: int
    start: int
    end: int | None  # None: runs until the file ends, as in a live recording


@dataclass
class _Track:
    track_type: int = 0
    width: int = 0
    height: int = 0
    states_frame_rate: bool = False


def read_matroska_header(stream: BinaryIO, size_bytes: int) -> ContainerHeader:
    """Read picture sizes, duration and completeness from the elements before the first frame."""
    tracks: list[_Track] = []
    duration_seconds = None
    ends_early = False
    for element in _iterate_elements(stream, 0, size_bytes):
        if element.number != _SEGMENT:
            continue
        ends_early = element.end is not None and element.end > size_bytes
        for child in _iterate_elements(stream, element.start, element.end or size_bytes):
            if child.number == _CLUSTER:
                break
            if child.number == _INFO:
                duration_seconds = _read_duration(stream, child)
            elif child.number == _TRACKS:
                entries = _iterate_elements(stream, child.start, child.end or size_bytes)
                tracks += [_read_track(stream, entry) for entry in entries if entry.number == _TRACK_ENTRY]
        break
    videos = [track for track in tracks if track.track_type == _VIDEO_TRACK]
    return ContainerHeader(
        container="matroska",
        has_video=bool(videos) if tracks else None,
        width=max((track.width for track in videos), default=None),
        height=max((track.height for track in videos), default=None),
        duration_seconds=duration_seconds,
        states_frame_rate=bool(videos) and videos[0].states_frame_rate,
        ends_early=ends_early,
    )


def _iterate_elements(stream: BinaryIO, start: int, end: int | None) -> Iterator[_Element]:
    position = start
    for _ in range(_MAX_ELEMENTS):
        if end is not None and position >= end:
            return
        stream.seek(position)
        head = stream.read(12)
        number_length = _variable_length(head)
        size_length = _variable_length(head[number_length:])
        if not number_length or not size_length or len(head) < number_length + size_length:
            return
        number = int.from_bytes(head[:number_length], "big")
        bits = 7 * size_length
        size = int.from_bytes(head[number_length : number_length + size_length], "big") & ((1 << bits) - 1)
        body = position + number_length + size_length
        if size == (1 << bits) - 1:
            yield _Element(number, body, None)
            return
        yield _Element(number, body, body + size)
        position = body + size


def _variable_length(head: bytes) -> int:
    """Bytes of the EBML number at the start, told by its leading zero bits; 0 if there is none."""
    return 9 - head[0].bit_length() if head and head[0] else 0


def _read_number(stream: BinaryIO, element: _Element) -> int:
    if element.end is None or element.end - element.start > 8:
        return 0
    stream.seek(element.start)
    return int.from_bytes(stream.read(element.end - element.start), "big")


def _read_duration(stream: BinaryIO, info: _Element) -> float | None:
    nanoseconds_per_tick, ticks = 1_000_000, None
    for element in _iterate_elements(stream, info.start, info.end):
        if element.number == _TIMESTAMP_SCALE:
            nanoseconds_per_tick = _read_number(stream, element)
        elif element.number == _DURATION and element.end is not None:
            stream.seek(element.start)
            layout = {4: ">f", 8: ">d"}.get(element.end - element.start)
            body = stream.read(element.end - element.start) if layout else b""
            ticks = (
                struct.unpack(layout, body)[0] if layout and len(body) == struct.calcsize(layout) else None
            )
    return ticks * nanoseconds_per_tick / 1e9 if ticks is not None and ticks > 0 else None


def _read_track(stream: BinaryIO, entry: _Element) -> _Track:
    track = _Track()
    for element in _iterate_elements(stream, entry.start, entry.end):
        if element.number == _TRACK_TYPE:
            track.track_type = _read_number(stream, element)
        elif element.number == _DEFAULT_DURATION:
            track.states_frame_rate = True
        elif element.number == _VIDEO:
            for detail in _iterate_elements(stream, element.start, element.end):
                if detail.number == _PIXEL_WIDTH:
                    track.width = _read_number(stream, detail)
                elif detail.number == _PIXEL_HEIGHT:
                    track.height = _read_number(stream, detail)
    return track
