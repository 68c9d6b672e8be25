"""Open a file for FFmpeg, choose its film among the tracks, and see how long that is and how it is shown."""

import math
import os
import re
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .clock import Clock
from .errors import AudioOnlyError, CorruptVideoError, NotAVideoError, UnsupportedCodecError, VideoNotFoundError
from .turns import QUARTER_TURNS, Turn, turn_of_matrix

Source = str | os.PathLike[str] | bytes | BinaryIO
Track = TypeVar("Track", VideoStream, AudioStream)

_FILMS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,obu,ivf,mjpeg,flv,asf,ogg,"
    "gif,dv,mxf,rm,wtv,nut,mpjpeg,yuv4mpegpipe"
)
_SOUND = "wav,w64,mp3,flac,aac,aiff,au,amr,ac3,eac3,caf"
# Playlists, scripts, drawings and patterns of names lead to other files, so none of them is on the list.
_CONTAINER_OPTIONS = {"protocol_whitelist": "fd", "format_whitelist": f"{_FILMS},{_SOUND}"}
# PyAV 18 refuses files whose tags are not UTF-8 without it.
_OPEN_OPTIONS: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
_INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "avi")
_BROADCAST = ("mpegts", "mpeg")
# Broadcasts break and go on; elsewhere a pause is more likely meant, as in a recorded screen.
_LONGEST_PAUSE_SECONDS, _LONGEST_PAUSE_IN_BROADCAST = 60.0, 10.0
_READABLE = "mp4, mov, webm, mkv, avi, gif, mpeg, flv, ogv or wmv video, or a png, jpeg, webp, avif, bmp or tiff image"
_STARTS = re.compile(
    rb"\x1aE\xdf\xa3|GIF8|FLV\x01|OggS|0&\xb2u|\0\0\x01[\xba\xb3]|\x89PNG|\xff\xd8\xff|II\*\0|MM\0\*"
    rb"|.{4}(ftyp|styp|moov|mdat|wide|free|skip|pnot)|RIFF.{4}(AVI |WEBP)|G.{187}G.{187}G",
    re.DOTALL,
)
_PHOTO = re.compile(rb".{4}ftyp(hei[cxms]|hevc|mif1|msf1)", re.DOTALL)
DECODING_ERRORS = (av.FFmpegError, ValueError)
"""What decoding raises on damage; after a decoder that cannot be opened, PyAV 19 raises the second."""

_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_ASSUMED_FRAMES_PER_SECOND = 25.0
# Where nothing states the rate, FFmpeg takes the clock's ticks for frames, such as 1000 a second; slow ticks are real.
_SLOWEST_TICK = 240.0
# Tracks much shorter than the longest are something else; small differences are due to rounding.
_SAME_LENGTH_SHARE = 0.9
_MAX_DAMAGED_PACKETS = 300
# Nobody means pixels like needles.
_MAX_PIXEL_RATIO = 10
_COPIED_AT_ONCE = 1 << 20


class Timing(NamedTuple):
    """How many frames a film has and how many seconds, each `None` where nothing says so."""

    num_frames: int | None
    seconds: float | None
    is_indexed: bool = False

    @property
    def rate(self) -> float | None:
        """Mean frames per second."""
        return self.num_frames / self.seconds if self.num_frames and self.seconds else None


def name_source(source: Source) -> str:
    """Return what messages call a source: its file's name, without the folder."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return repr(Path(os.fsdecode(path)).name) if isinstance(path, str | os.PathLike) else "the video"


@contextmanager
def open_file(source: Source) -> Iterator[BinaryIO]:
    """Give the bytes of a source; a file that was passed in stays open.

    Raises:
        VideoNotFoundError: There is no such file, or it cannot be opened.
        NotAVideoError: It is not a regular file.
    """
    if not isinstance(source, str | os.PathLike):
        yield BytesIO(source) if isinstance(source, bytes) else source
        return
    name, path = name_source(source), Path(os.fsdecode(source))
    try:
        # Nothing may wait on a named pipe; and without a buffer, as FFmpeg moves the position too.
        file = path.open("rb", buffering=0) if stat.S_ISREG(path.stat().st_mode) else None
    except (OSError, ValueError) as error:
        raise VideoNotFoundError(
            f"Expected a video file, found none named {name} that can be opened; check the path. "
            "Addresses on the network are not opened: download the video first."
        ) from error
    if file is None:
        raise NotAVideoError(f"Expected a video file, got {name} which is no regular file; name one file.")
    with file:
        yield file


@contextmanager
def real_file(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Give a file that FFmpeg can read by itself; whatever else has bytes is copied into a temporary one.

    Where FFmpeg reads through Python, threads that open and close files can wait for each other forever (PyAV 17).
    """
    if isinstance(stream, FileIO):
        yield stream
        return
    with tempfile.TemporaryFile(buffering=0) as file:
        stream.seek(0)
        shutil.copyfileobj(stream, file, _COPIED_AT_ONCE)
        yield file


@contextmanager
def open_container(stream: BinaryIO, name: str, max_pixels: int | None = None) -> Iterator[InputContainer]:
    """Let FFmpeg read a container's header; it gets a descriptor and no name.

    By its name, FFmpeg would take a file for a format, an address or a row of pictures.

    Args:
        stream: The bytes. Nothing else may read them until the container is closed, as both share one position.
        name: What messages call them.
        max_pixels: Decode no larger picture where some are decoded to complete the header.

    Raises:
        NotAVideoError: It is of no kind that is read here.
        CorruptVideoError: Its header cannot be read.
    """
    options = {} if max_pixels is None else pixels_at_most(max_pixels)
    with real_file(stream) as file:
        file.seek(0)
        head = file.read(400)
        unlike = f"Expected {_READABLE}, got {name} which starts like none of them"
        if _PHOTO.match(head):
            raise NotAVideoError(f"{unlike} but like a HEIC photo; convert it to jpeg.")
        file.seek(0)
        descriptor = {"fd": str(file.fileno())}
        try:
            container = av.open(
                "fd:", "r", container_options=_CONTAINER_OPTIONS | descriptor, options=options, **_OPEN_OPTIONS
            )
        except av.FFmpegError as error:
            raise (
                _not_found(name) if _STARTS.match(head) else NotAVideoError(f"{unlike}; convert it to mp4 or webm.")
            ) from error
        with container:
            try:
                yield container
            finally:
                end_decoding(container)


def pixels_at_most(count: float) -> dict[str, str]:
    """FFmpeg's option that decodes no larger picture; it can say no more than an int of C."""
    return {"max_pixels": str(int(min(count, 2**31 - 1)))}


def end_decoding(container: InputContainer) -> None:
    """Wait for the threads that decode while they can get hold of Python.

    They need it for each message of FFmpeg once PyAV's logging has a level, which the torchvision of torch 2.8 sets.
    PyAV does not let go of Python while it frees a decoder, so that both would wait for each other forever.
    """
    for track in container.streams.video:
        if track.codec_context is not None:
            track.codec_context.flush_buffers()


def read_packets(container: InputContainer, track: Track) -> "Iterator[av.Packet[Track]]":
    """Read the packets of a track, and last an empty one that empties the decoder."""
    packets: Iterator[Any] = container.demux(track)
    # PyAV stumbles at the end of a broadcast to which streams were added on the way.
    with suppress(IndexError):
        yield from packets


def choose_track(container: InputContainer, name: str) -> VideoStream:
    """Pick the film: the default track, else the longest, and neither a cover nor a thumbnail.

    Raises:
        AudioOnlyError: There is sound, but no film.
        UnsupportedCodecError: No film has a decoder.
        CorruptVideoError: There is neither film nor sound.
    """
    films = [track for track in container.streams.video if not track.disposition & _NO_FILM]
    if not films and container.streams.audio:
        raise AudioOnlyError(f"Expected a video, got {name} with sound but no pictures; choose a video.")
    if not films:
        raise _not_found(name)
    films = [track for track in films if track.codec_context is not None]
    if not films:
        raise UnsupportedCodecError(
            f"Expected a codec that can be decoded, got {name} whose pictures have an unknown or a missing one; "
            "convert it to H.264 in mp4 or to webm."
        )
    seconds = {track.index: _track_seconds(track) for track in films}
    films = [track for track in films if track.frames != 1 and not 0 < seconds[track.index] < 0.08] or films
    films = [track for track in films if track.disposition & Disposition.default] or films
    enough = _SAME_LENGTH_SHARE * max(seconds[track.index] for track in films)
    return next(track for track in films if seconds[track.index] >= enough)


def start_clock(container: InputContainer, track: VideoStream) -> Clock:
    """Make the clock that suits a container: where there is an index, every pause is meant."""
    pause = math.inf if container.format.name in _INDEXED else _LONGEST_PAUSE_SECONDS
    pause = _LONGEST_PAUSE_IN_BROADCAST if container.format.name in _BROADCAST else pause
    rate = _stated_rate(track) or _ASSUMED_FRAMES_PER_SECOND
    return Clock(step_seconds=1 / rate, longest_pause_seconds=pause)


def read_timing(container: InputContainer, track: VideoStream) -> Timing:
    """Take count and length from the index, else from the header; nothing of a header that is known to be wrong."""
    entries, seconds = track.index_entries, _track_seconds(track)
    if track.frames and len(entries) > 1 and container.format.name in _INDEXED:
        # A film that was cut without being encoded again has pictures that are only there to decode others.
        num_all, count = len(entries), sum(not entry.is_discard for entry in entries)
        span = float((entries[num_all - 1].timestamp - entries[0].timestamp) * (track.time_base or 0))
        # The header of an AVI only repeats the number of frames, which is often wrong; that of a cut film counts all.
        header = 0.0 if container.format.name == "avi" or count < num_all else seconds
        return Timing(count, max(header, span * count / (num_all - 1)), is_indexed=True)
    seconds = seconds or (container.duration or 0) / av.time_base
    if container.format.name in _BROADCAST or not seconds:
        return Timing(None, None)
    rate = _stated_rate(track)
    return Timing(track.frames or (round(seconds * rate) if rate else None), seconds)


def measure_timing(
    container: InputContainer, track: VideoStream, *, max_seconds: float | None, max_frames: int | None
) -> Timing:
    """Count packets and follow their time stamps, without decoding, until they end or are over a limit."""
    clock, num_packets = start_clock(container, track), 0
    # What is damaged is the reader's to tell.
    with suppress(av.FFmpegError):
        for packet in read_packets(container, track):
            stamp = packet.pts if packet.dts is None else packet.dts
            if packet.size == 0:
                continue
            num_packets += 1
            clock.tick(None if stamp is None else float(stamp * packet.time_base), duration_seconds(packet))
            if clock.seconds > (max_seconds or math.inf) or num_packets > (max_frames or math.inf):
                break
    return Timing(num_packets or None, clock.end_seconds if num_packets else None)


def first_frame(container: InputContainer, track: VideoStream, name: str) -> VideoFrame:
    """Decode one frame, with the least memory and the fewest packets.

    Raises:
        CorruptVideoError: None of the first packets can be decoded.
    """
    track.codec_context.thread_count = 1
    num_damaged = 0
    with suppress(av.FFmpegError):
        for packet in read_packets(container, track):
            try:
                for frame in packet.decode():
                    return frame
            except DECODING_ERRORS:
                num_damaged += 1
            if num_damaged > _MAX_DAMAGED_PACKETS:
                break
    raise nothing_decodable(name)


def frame_turn(frame: VideoFrame) -> Turn:
    """Read how a frame is to be turned when shown."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV stumbles over kinds of side data that are younger than itself, such as EXIF.
        return QUARTER_TURNS[-frame.rotation // 90 % 4]
    return Turn() if matrix is None else turn_of_matrix(bytes(matrix))


def duration_seconds(piece: av.Packet | av.AudioFrame | VideoFrame) -> float:
    """How long a packet or frame says it lasts, 0 where it does not."""
    return float((piece.duration or 0) * (piece.time_base or 0))


def square_size(frame: VideoFrame, track: VideoStream, stored: tuple[int, int]) -> tuple[int, int]:
    """Return width and height with square pixels, before a turn: their shorter side grows.

    Args:
        stored: Size that the container's shape of pixels is about; another size midway brings its own.
    """
    is_first = (frame.width, frame.height) == stored
    ratio = float((track if is_first else track.codec_context).sample_aspect_ratio or 1)
    if not 1 / _MAX_PIXEL_RATIO <= ratio <= _MAX_PIXEL_RATIO:
        ratio = 1.0
    return round(frame.width * max(ratio, 1)), round(frame.height / min(ratio, 1))


def is_cut_off(stream: BinaryIO, size_bytes: int, track: VideoStream, timing: Timing) -> bool:
    """Whether a file ends before its index or its outermost element says."""
    if timing.is_indexed:
        last = track.index_entries[len(track.index_entries) - 1]
        return last.pos + last.size > size_bytes
    stream.seek(0)
    head = stream.read(4096)
    if head.startswith(b"GIF8"):
        stream.seek(max(0, size_bytes - 64))
        return not stream.read().rstrip(b"\0").endswith(b";")
    if head.startswith(b"RIFF"):
        return 8 + struct.unpack_from("<I", head, 4)[0] > size_bytes
    start = head.find(b"\x18\x53\x80\x67") + 4
    if not head.startswith(b"\x1aE\xdf\xa3") or start < 4 or not head[start : start + 1].strip(b"\0"):
        return False
    # A size in Matroska: the leading zero bits of its first byte tell its length; all ones mean unknown.
    length = 9 - head[start].bit_length()
    unknown = (1 << 7 * length) - 1
    size = int.from_bytes(head[start : start + length], "big") & unknown
    return size != unknown and start + length + size > size_bytes


def nothing_decodable(name: str) -> CorruptVideoError:
    """Say that no frame can be decoded."""
    return CorruptVideoError(
        f"Expected decodable frames, got none from {name}: it is damaged or of an unknown codec; "
        "export or upload it again, best as mp4 or webm, or as an 8-bit image."
    )


def _not_found(name: str) -> CorruptVideoError:
    return CorruptVideoError(
        f"Expected a video, got {name} whose pictures cannot be found: it is damaged, cut off before its index, "
        "or of an unknown codec; export or upload it again, best as mp4 or webm."
    )


def _stated_rate(track: VideoStream) -> float | None:
    rate = float(track.average_rate or track.guessed_rate or 0)
    is_tick = rate > _SLOWEST_TICK and rate * (track.time_base or 0) == 1
    return rate if rate > 0 and not is_tick else None


def _track_seconds(track: VideoStream) -> float:
    """How long a track is, 0 where nothing says so; Matroska says it in a tag."""
    with suppress(ValueError):
        hours, minutes, seconds = track.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float((track.duration or 0) * (track.time_base or 0))
