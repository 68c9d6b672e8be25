"""What a video container's own header says, read without FFmpeg and without decoding.

FFmpeg decodes a frame while it opens some files, so the picture size has to be known before it is asked.
It also follows playlists to other files, so only containers recognised here by their first bytes reach it.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

SNIFFED_BYTES = 64 * 1024
_MAX_INDEX_BYTES = 16 * 1024 * 1024
_MP4_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_STREAM_PROPERTIES = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")
_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_OGG_VIDEO = (b"\x80theora", b"OVP80", b"BBCD\x00", b"\x01video")
_OGG_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ", b"\x01audio")


@dataclass(frozen=True)
class ContainerHeader:
    """What a container states about its pictures; `None` where it states nothing.

    Attributes:
        container: Which container: mp4, matroska, avi, gif, asf, mpeg, flv or ogg.
        has_video: Whether a video track is listed.
        width: Pixels of the widest video track, before rotation.
        height: Pixels of the highest video track, before rotation.
        num_indexed_frames: Frames that the index of the first video track lists.
        duration_seconds: Playing time, where the container states one that counts for the pictures.
        states_frame_rate: Whether the frame rate is stated rather than guessed from time stamps.
        ends_early: Whether the file is shorter than its own structure says.
    """

    container: str
    has_video: bool | None = None
    width: int | None = None
    height: int | None = None
    num_indexed_frames: int | None = None
    duration_seconds: float | None = None
    states_frame_rate: bool = False
    ends_early: bool = False


def sniff_container(head: bytes) -> str | None:
    """Name the video container that starts with these bytes, or `None` for anything else."""
    if head[4:8] in _MP4_FIRST_BOXES and not (head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS):
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] in (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3") or _is_transport_stream(head):
        return "mpeg"
    starts = {
        b"\x1aE\xdf\xa3": "matroska",
        b"GIF87a": "gif",
        b"GIF89a": "gif",
        b"FLV\x01": "flv",
        b"OggS\x00": "ogg",
        _ASF_HEADER: "asf",
    }
    return next((container for start, container in starts.items() if head.startswith(start)), None)


def sniff_audio(head: bytes) -> bool:
    """Tell whether these first bytes are those of a common sound file."""
    is_wave = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    is_mpeg_audio = len(head) > 1 and head[0] == 0xFF and head[1] in (0xFB, 0xFA, 0xF3, 0xF2, 0xF1, 0xF9)
    is_aiff = head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")
    return is_wave or is_mpeg_audio or is_aiff or head.startswith((b"ID3", b"fLaC", b"#!AMR", b".snd"))


def read_avi_header(stream: BinaryIO, size_bytes: int) -> ContainerHeader:
    """Read the stream list and the index of an AVI file."""
    kinds: set[bytes] = set()
    sizes: list[tuple[int, int]] = []
    num_indexed_frames = None
    stream.seek(4)
    riff_end = 8 + struct.unpack("<I", stream.read(4))[0]
    position = 12
    for _ in range(1000):
        stream.seek(position)
        chunk = stream.read(12)
        if len(chunk) < 12:
            break
        name, length, list_name = struct.unpack("<4sI4s", chunk)
        if name == b"LIST" and list_name in (b"hdrl", b"strl"):
            position += 12
            continue
        if name == b"strh":
            kinds.add(list_name)
        elif name == b"strf" and length >= 40:
            stream.seek(position + 12)
            width, height = struct.unpack("<ii", stream.read(8).ljust(8, b"\0"))
            sizes.append((abs(width), abs(height)))
        elif name == b"idx1":
            stream.seek(position + 8)
            num_indexed_frames = _count_avi_frames(stream.read(min(length, _MAX_INDEX_BYTES)))
        position += 8 + length + length % 2
    has_video = b"vids" in kinds if kinds else None
    return ContainerHeader(
        container="avi",
        has_video=has_video,
        width=max((width for width, _ in sizes), default=None) if has_video else None,
        height=max((height for _, height in sizes), default=None) if has_video else None,
        num_indexed_frames=num_indexed_frames,
        states_frame_rate=True,
        ends_early=riff_end > size_bytes,
    )


def read_asf_header(stream: BinaryIO) -> ContainerHeader:
    """Read the stream properties of an ASF or WMV file."""
    head = stream.read(SNIFFED_BYTES)
    has_audio, sizes = False, []
    position = head.find(_ASF_STREAM_PROPERTIES)
    while position >= 0:
        if head[position + 24 : position + 40] != _ASF_VIDEO:
            has_audio = True
        elif position + 86 <= len(head):
            sizes.append(struct.unpack_from("<II", head, position + 78))
        position = head.find(_ASF_STREAM_PROPERTIES, position + 16)
    return ContainerHeader(
        container="asf",
        has_video=True if sizes else (False if has_audio else None),
        width=max((width for width, _ in sizes), default=None),
        height=max((height for _, height in sizes), default=None),
    )


def read_gif_header(stream: BinaryIO, size_bytes: int) -> ContainerHeader:
    """Read the canvas size of a GIF, and whether its trailer is there."""
    width, height = struct.unpack("<HH", stream.read(10)[6:].ljust(4, b"\0"))
    stream.seek(max(0, size_bytes - 64))
    has_trailer = stream.read().rstrip(b"\0").endswith(b";")
    return ContainerHeader(
        container="gif",
        has_video=True,
        width=width,
        height=height,
        states_frame_rate=True,
        ends_early=not has_trailer,
    )


def read_ogg_header(stream: BinaryIO) -> ContainerHeader:
    """Tell whether the first pages of an Ogg file announce pictures or only sound."""
    head = stream.read(4096)
    if any(mark in head for mark in _OGG_VIDEO):
        return ContainerHeader(container="ogg", has_video=True)
    has_audio = any(mark in head for mark in _OGG_AUDIO)
    return ContainerHeader(container="ogg", has_video=False if has_audio else None)


def _is_transport_stream(head: bytes) -> bool:
    """Look for the sync byte of three packets, of 188 bytes or of 192 with a time code before each."""
    return any(
        len(head) > start + 2 * step and all(head[start + i * step] == 0x47 for i in range(3))
        for start, step in ((0, 188), (4, 192))
    )


def _count_avi_frames(index: bytes) -> int:
    names = [index[position + 2 : position + 4] for position in range(0, len(index) - 15, 16)]
    return names.count(b"dc") + names.count(b"db")
