"""Read a video as a stream of RGB frames as a player shows them, with their times."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from .clock import Clock
from .container import (
    DECODING_ERRORS,
    Source,
    duration_seconds,
    frame_turn,
    nothing_decodable,
    open_container,
    open_file,
    pixels_at_most,
    read_packets,
    square_size,
    start_clock,
)
from .errors import VideoTooLargeError, VideoWarning
from .probe import DEFAULT_LIMITS, VideoInfo, VideoLimits, plain_number, probe
from .stills import BREAKS_OFF, PICTURE_ERRORS, decode_pictures, has_more_pages, open_picture, picture_turn
from .tone_mapping import HLG, PQ, map_to_sdr
from .turns import Turn

# Each decoding thread holds frames of its own.
_MAX_DECODING_THREADS = 4
# After so many errors, nothing more can be read from a container.
_MAX_READ_ERRORS = 100
# Indexes and durations are a little off in sound files too; a tenth is more than that.
_EXPECTED_SHARE = 0.9
_DURATION_TOLERANCE_SECONDS = 1.0
# Damage closer together than this is told as one stretch.
_STRETCH_SECONDS = 0.5
# A decoder refuses pictures of more pixels than this many times the limit, before it makes room for them.
_PIXELS_OVER_LIMIT = 4
_UNKNOWN_COLOURS, _BT2020, _HD_HEIGHT = 2, 9, 720
_MAX_LISTED = 5

Warn = Callable[[str], None]


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
    source: Source, *, limits: VideoLimits = DEFAULT_LIMITS, max_side: int | None = None, warn: Warn | None = None
) -> Iterator[Frame]:
    """Decode a video or picture frame by frame, holding few frames at a time.

    The file is probed at once, and released after the last frame or when the iterator is closed. Frames are as a
    player shows them: turned, with square pixels, without interlacing, HDR mapped to SDR. What the header says about
    the number of frames is not relied on. A frame of another size is fitted into the first one's, with black bars.
    Transparency is dropped. Where time stamps jump, the frames go on at their usual distance.

    Args:
        source: A path, the bytes of a file, or a binary file that can seek.
        limits: What to refuse. They are checked against the header and again while decoding.
        max_side: Shrink each frame so that its longer side has at most this many pixels.
        warn: Called after the last frame with each sentence on what is damaged, missing or was repaired; when left
            out, it becomes a `VideoWarning`.

    Raises:
        ValueError: `max_side` is not positive.
        VideoError: As in `probe`; `VideoTooLargeError` may also come after the frames within the limits, and
            `CorruptVideoError` when no frame can be decoded.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"Expected max_side of at least 1 pixel or None, got {max_side}; choose e.g. 640.")
    info = probe(source, limits=limits)
    return _read_frames(source, info, limits, max_side, warn or _warn)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, VideoWarning, stacklevel=4)


def _read_frames(
    source: Source, info: VideoInfo, limits: VideoLimits, max_side: int | None, warn: Warn
) -> Iterator[Frame]:
    with open_file(source) as stream:
        picture = open_picture(stream)
        if picture is not None:
            yield from _read_pictures(picture, info, limits, max_side, warn)
            return
        with open_container(stream, info.name) as container:
            yield from _read_film(container, info, limits, max_side, warn)


def _read_pictures(
    picture: Image.Image, info: VideoInfo, limits: VideoLimits, max_side: int | None, warn: Warn
) -> Iterator[Frame]:
    turn, index, seconds, shown = picture_turn(picture), -1, 0.0, picture
    scale = _scale(picture.size, max_side)
    size = _shrunk(picture.size, scale)
    try:
        for index, (shown, seconds) in enumerate(decode_pictures(picture)):
            _check_progress(info, index, seconds, limits)
            small = shown if scale == 1 else shown.resize(size, Image.Resampling.BOX)
            yield Frame(index, seconds, turn.apply(np.array(small)), scale)
    except PICTURE_ERRORS as error:
        if isinstance(error, VideoTooLargeError):
            raise
        if index < 0:
            raise nothing_decodable(info.name) from error
        warn(
            f"Expected {info.num_frames} pictures in {info.name}, got {index + 1} up to {seconds:.2f} seconds, as "
            "what follows is damaged; export or upload it again if the rest matters."
        )
    if BREAKS_OFF in shown.info:
        warn(f"Expected a whole picture, got {info.name} whose end is missing and left grey; upload it again.")
    if info.is_still and has_more_pages(picture):
        warn(f"Expected one picture, got {info.name} with several pages; only the first was taken.")


def _read_film(
    container: InputContainer, info: VideoInfo, limits: VideoLimits, max_side: int | None, warn: Warn
) -> Iterator[Frame]:
    track = next(track for track in container.streams.video if track.index == info.track)
    codec = track.codec_context
    easel = _Easel(track, max_side)
    codec.thread_type = "AUTO"
    codec.thread_count = min(_MAX_DECODING_THREADS, os.cpu_count() or 1)
    if limits.max_pixels is not None:
        codec.options = pixels_at_most(_PIXELS_OVER_LIMIT * limits.max_pixels)
    clock, damage, index = start_clock(container, track), _Damage(), 0
    # Whatever decodes ends before its container is closed, even where a traceback keeps it.
    with (
        closing(_packets(container, track)) as packets,
        closing(_decode(packets, clock, damage)) as decoded,
        closing(_deinterlace(decoded)) as shown,
    ):
        for frame, seconds in shown:
            _check_progress(info, index, seconds, limits)
            try:
                rgb = easel.paint(frame, info.name, limits)
            except av.FFmpegError:
                damage.add(seconds, seconds)
                continue
            yield Frame(index, seconds, rgb, easel.scale)
            index += 1
    if index == 0:
        raise nothing_decodable(info.name)
    problems = _what_is_missing(info, index, clock, damage)
    if problems:
        warn(
            f"Expected all of {info.name}, got {index} frames up to {clock.seconds:.2f} seconds: "
            f"{', '.join(problems)}; export or upload it again if the rest matters."
        )
    if clock.jumps:
        places = _list(f"{seconds:.2f}" for seconds in clock.jumps)
        warn(
            f"Expected time stamps of {info.name} that go on, got jumps at {places} seconds; the frames after a "
            "jump were moved up to those before it."
        )


def _decode(
    packets: Iterable[av.Packet | None], clock: Clock, damage: "_Damage"
) -> Generator[tuple[VideoFrame, float], None, None]:
    """Decode on past damage, and give every frame its time."""
    is_damaged, marked = False, set[int | None]()
    for packet in packets:
        try:
            frames = [] if packet is None else packet.decode()
        except DECODING_ERRORS:
            frames, packet = [], None
        is_damaged |= packet is None
        if packet is not None and packet.is_corrupt:
            marked.add(packet.pts)
        for frame in frames:
            start = clock.seconds
            clock.tick(frame.time, duration_seconds(frame))
            if is_damaged or frame.is_corrupt or frame.pts in marked:
                damage.add(start, clock.seconds)
            is_damaged = False
            marked.discard(frame.pts)
            yield frame, clock.seconds
    if is_damaged:
        damage.add(clock.seconds, clock.end_seconds)


def _packets(container: InputContainer, track: VideoStream) -> Generator[av.Packet | None, None, None]:
    """Read packets, and `None` where something between them cannot be read."""
    for _ in range(_MAX_READ_ERRORS):
        with suppress(av.FFmpegError):
            yield from read_packets(container, track)
            return
        yield None


def _deinterlace(frames: Iterable[tuple[VideoFrame, float]]) -> Generator[tuple[VideoFrame, float], None, None]:
    """Send frames through FFmpeg's filter from the first interlaced one on; as many come out as go in."""
    graph, kind, times = None, None, deque[float]()
    for frame, seconds in frames:
        this = frame.width, frame.height, frame.format.name
        if graph is not None and kind != this:
            yield from _pull(graph, times, is_end=True)
            graph = None
        if graph is None and frame.interlaced_frame and kind != this:
            graph, kind = _make_filter(frame), this
        if graph is None:
            yield frame, seconds
            continue
        times.append(seconds)
        graph.vpush(frame)
        yield from _pull(graph, times)
    if graph is not None:
        yield from _pull(graph, times, is_end=True)


def _make_filter(frame: VideoFrame) -> Graph | None:
    """Make the filter, or `None` for pictures that it does not take, such as those of three lines."""
    graph, time_base = Graph(), frame.time_base or Fraction(1, 1000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    try:
        graph.configure()
    except av.FFmpegError:
        return None
    return graph


def _pull(graph: Graph, times: deque[float], *, is_end: bool = False) -> Iterator[tuple[VideoFrame, float]]:
    if is_end:
        graph.vpush(None)
    with suppress(av.BlockingIOError, av.EOFError):
        while times:
            frame = graph.vpull()
            yield frame, times.popleft()


class _Easel:
    """Brings frames to the working size of the first one, in one pass of FFmpeg's scaler.

    Attributes:
        scale: Original pixels per pixel, set by the first frame.
    """

    def __init__(self, track: VideoStream, max_side: int | None) -> None:
        self.scale = 1.0
        self._track, self._max_side = track, max_side
        self._stored = track.codec_context.width, track.codec_context.height
        self._size = (0, 0)
        self._look, self._turn = (0, 0, 0), Turn()
        self._scaler = VideoReformatter()

    def paint(self, frame: VideoFrame, name: str, limits: VideoLimits) -> np.ndarray:
        """Return uint8 RGB of shape (height, width, 3); all frames have the first one's shape.

        Raises:
            VideoTooLargeError: The frame is wider or higher than allowed.
            av.FFmpegError: The pixels are of a kind that cannot be converted.
        """
        # PyAV keeps frames whose side data was asked for until Python looks for cycles: ask as seldom as possible.
        look = frame.width, frame.height, frame.rotation
        if look != self._look:
            self._look, self._turn = look, frame_turn(frame)
        turn = self._turn
        shown = turn.size(*square_size(frame, self._track, self._stored))
        limits.check_size(name, *shown)
        if self._size == (0, 0):
            self.scale = _scale(shown, self._max_side)
            self._size = _shrunk(shown, self.scale)
        fit = max(shown[0] / self._size[0], shown[1] / self._size[1])
        size = _shrunk(shown, fit)
        rgb = turn.apply(self._convert(frame, *turn.size(*size)))
        if size == self._size:
            return rgb
        canvas = np.zeros((self._size[1], self._size[0], 3), dtype=np.uint8)
        left, top = (self._size[0] - size[0]) // 2, (self._size[1] - size[1]) // 2
        canvas[top : top + size[1], left : left + size[0]] = rgb
        return canvas

    def _convert(self, frame: VideoFrame, width: int, height: int) -> np.ndarray:
        is_hdr = frame.color_trc in (PQ, HLG)
        matrix = None
        if frame.colorspace == _UNKNOWN_COLOURS and (is_hdr or frame.height >= _HD_HEIGHT):
            # Where nothing is said, players take what television uses.
            matrix = _BT2020 if is_hdr else Colorspace.ITU709
        shrinks = width * height < frame.width * frame.height
        converted = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=matrix,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BICUBIC,
        )
        plane = converted.planes[0]
        # No copy: the array keeps the frame's memory.
        rgb = np.ndarray((height, width, 3), np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1))
        if is_hdr:
            return map_to_sdr(rgb, frame.color_trc)
        # What is RGB already belongs to the decoder, which may build the next frame on it.
        return rgb.copy() if converted is frame else rgb


class _Damage:
    """Stretches of time in which something could not be decoded."""

    def __init__(self) -> None:
        self.stretches: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        """Note a stretch after those before."""
        if self.stretches and start - self.stretches[-1][1] < _STRETCH_SECONDS:
            start = self.stretches.pop()[0]
        self.stretches.append((start, end))


def _check_progress(info: VideoInfo, index: int, seconds: float, limits: VideoLimits) -> None:
    max_frames, max_pixels = limits.max_frames, limits.max_decoded_pixels
    if limits.max_seconds is not None and seconds > limits.max_seconds:
        field, allowed = "max_seconds", f"{limits.max_seconds:g} seconds"
    elif max_frames is not None and index >= max_frames:
        field, allowed = "max_seconds", f"{max_frames} frames"
    elif max_pixels is not None and (index + 1) * info.width * info.height > max_pixels:
        field, allowed = "max_decoded_pixels", f"{plain_number(max_pixels)} pixels in all frames"
    else:
        return
    raise VideoTooLargeError(
        f"Expected at most {allowed}, got {info.name} which goes on after them although its header does not say "
        f"so; shorten the video or raise {field}.",
        limit=field,
    )


def _what_is_missing(info: VideoInfo, num_decoded: int, clock: Clock, damage: _Damage) -> list[str]:
    problems = []
    # Where recordings were joined, packets are marked without being damaged.
    stretches = [
        f"{start:.2f} to {end:.2f}"
        for start, end in damage.stretches
        if not any(0 <= seconds - end < _STRETCH_SECONDS for seconds in clock.breaks)
    ]
    if info.ends_early:
        problems.append("the file ends before its structure does")
    if stretches:
        count = "1 stretch" if len(stretches) == 1 else f"{len(stretches)} stretches"
        problems.append(f"{count} in between could not be decoded whole ({_list(stretches)} seconds)")
    if num_decoded < _EXPECTED_SHARE * (info.num_indexed_frames or 0):
        problems.append(f"its index lists {info.num_indexed_frames} frames")
    if info.num_indexed_frames is None and info.duration_seconds is not None:
        expected_seconds = _EXPECTED_SHARE * info.duration_seconds - _DURATION_TOLERANCE_SECONDS
        if clock.seconds < expected_seconds:
            problems.append(f"its header says {info.duration_seconds:g} seconds")
    return problems


def _list(words: Iterable[str]) -> str:
    words = list(words)
    return ", ".join(words[:_MAX_LISTED]) + (", ..." if len(words) > _MAX_LISTED else "")


def _scale(size: tuple[int, int], max_side: int | None) -> float:
    return 1.0 if max_side is None else max(1.0, max(size) / max_side)


def _shrunk(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] / scale)), max(1, round(size[1] / scale))
