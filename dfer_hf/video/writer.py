"""Write WebM and MP4 videos as browsers play them."""

import math
import os
import secrets
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from .container import Source
from .errors import UnsupportedSuffixError, VideoWriteError
from .placing import place_behind, take_place
from .sound import carry_sound

# VP9 set like this takes a fifth of the time of VP8 at its usual setting, and a tenth of the room.
_CODECS = {
    "webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"}),
    "mp4": ("libx264", {"preset": "superfast", "crf": "23"}),
}
_TICKS_PER_SECOND = 90_000
# WebM counts in milliseconds.
_SHORTEST_TICKS = 90
_MIN_SIDE = 4
_BT709 = 1


class VideoWriter:
    """Write RGB frames to a WebM (VP9) or MP4 (H.264) file, at best within a `with` statement.

    The first frame sets the size. Where it is odd, the last column or row is doubled, as the codecs want even sizes.
    The file gets its name when it is complete; it is removed where it cannot be written or the `with` block raises.
    """

    def __init__(self, path: str | os.PathLike[str], *, frames_per_second: float, sound: Source | None = None) -> None:
        """Check the name and the rate; the file is made with the first frame.

        Args:
            path: Where to write, a name ending in `.webm` or `.mp4`.
            frames_per_second: How fast frames follow each other that come without their time.
            sound: A clip whose sound is kept, as far as it can be read.

        Raises:
            UnsupportedSuffixError: The name ends in nothing that is written here.
            ValueError: The frame rate is not a positive number.
        """
        self.path = Path(os.fsdecode(path))
        if self.path.suffix.lower()[1:] not in _CODECS:
            raise UnsupportedSuffixError(
                f"Expected a name ending in .webm or .mp4, got {self.path.name!r}; nothing else is written."
            )
        if not math.isfinite(frames_per_second) or frames_per_second <= 0:
            raise ValueError(
                f"Expected frames_per_second to be finite and above 0, got {frames_per_second}; 25 is usual."
            )
        self.frames_per_second = frames_per_second
        self._sound = sound
        self._shape: tuple[int, ...] = ()
        self._step = _TICKS_PER_SECOND / frames_per_second
        self._ticks = -1
        self._output: _Output | None = None

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error_type is None:
            self.close()
        else:
            self._discard()

    def write(self, rgb: np.ndarray, time_seconds: float | None = None) -> None:
        """Append a frame, a uint8 array of shape (height, width, 3).

        Args:
            rgb: The frame.
            time_seconds: When it is shown; one frame after the last when left out.

        Raises:
            ValueError: The array is no such frame, or of another size than the first.
            VideoWriteError: The file cannot be written.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < _MIN_SIDE:
            raise ValueError(
                f"Expected a uint8 RGB frame of shape (height, width, 3), both at least {_MIN_SIDE}, "
                f"got {rgb.dtype} of shape {rgb.shape}; convert it first."
            )
        self._shape = self._shape or rgb.shape
        if rgb.shape != self._shape:
            raise ValueError(
                f"Expected every frame to have the first one's shape {self._shape}, got {rgb.shape}; resize it."
            )
        height, width = rgb.shape[:2]
        if height % 2 or width % 2:
            rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        ticks = self._ticks + self._step if time_seconds is None else time_seconds * _TICKS_PER_SECOND
        self._ticks = 0 if self._ticks < 0 else max(round(ticks), self._ticks + _SHORTEST_TICKS)
        with self._as_write_error():
            if self._output is None:
                self._output = _Output(self.path)
                self._output.start(rgb.shape[1], rgb.shape[0], self.frames_per_second, self._sound)
            self._output.write_frame(rgb, self._ticks)

    def close(self) -> None:
        """Finish the file; without a frame there is none.

        Raises:
            VideoWriteError: The file cannot be written.
        """
        if self._output is not None:
            with self._as_write_error():
                self._output.finish(end_seconds=(self._ticks + self._step) / _TICKS_PER_SECOND)
            self._output = None

    def _discard(self) -> None:
        if self._output is not None:
            self._output.discard()
        self._output = None

    @contextmanager
    def _as_write_error(self) -> Iterator[None]:
        """Remove what was written when something fails."""
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            self._discard()
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoWriteError(
                f"Expected to write {self.path.name!r} at {self._shape[1]}x{self._shape[0]} pixels, got {reason!r}; "
                "check that the folder exists, is writable and has room, and that name and pictures are not too large."
            ) from error


class _Output:
    """A container that is written under a passing name, and the file that FFmpeg writes it to.

    FFmpeg is not told of failures, as parts of it go on after them or crash: they are raised after each frame.
    """

    def __init__(self, path: Path) -> None:
        # A name that is too long fails here rather than after all the work.
        with suppress(FileNotFoundError):
            path.lstat()
        self._kind = path.suffix.lower()[1:]
        self._target = place_behind(path)
        if self._target.exists() and not self._target.is_file():
            raise OSError("what is there is no regular file")
        self._part = self._target.with_name(f".{secrets.token_hex(8)}.part")
        # FFmpeg has a buffer of its own.
        self._file = self._part.open("xb", buffering=0)
        self.seek, self.tell = self._file.seek, self._file.tell
        self._error: OSError | None = None
        self._packets: Generator[av.Packet, None, None] | None = None
        self._packet: av.Packet | None = None

    def start(self, width: int, height: int, frames_per_second: float, sound: Source | None) -> None:
        (codec, options), movflags = (_CODECS[self._kind], {"movflags": "faststart"} if self._kind == "mp4" else {})
        # FFmpeg reads again what it has written, to put the index of an MP4 in front.
        reopen = lambda *_: self._part.open("rb")  # noqa: E731
        self._container = av.open(self, "w", format=self._kind, container_options=movflags, io_open=reopen)
        rate = Fraction(frames_per_second).limit_denominator(_TICKS_PER_SECOND)
        stream = self._container.add_stream(codec, rate=rate, options=options, width=width, height=height)
        self._stream = cast("VideoStream", stream)
        context = self._stream.codec_context
        context.time_base = Fraction(1, _TICKS_PER_SECOND)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        self._packets = carry_sound(sound, self._container, self._kind)
        # The first packet of the sound adds its stream.
        self._packet = next(self._packets, None)
        try:
            self._container.start_encoding()
        except av.FFmpegError:
            if self._packet is None:
                raise
            self._file.truncate(self.seek(0))
            self.start(width, height, frames_per_second, sound=None)

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        try:
            while left and self._error is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._error = error
        return len(data)

    def write_frame(self, rgb: np.ndarray, ticks: int) -> None:
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = ticks, Fraction(1, _TICKS_PER_SECOND)
        self._mux(self._stream.encode(frame), until_seconds=ticks / _TICKS_PER_SECOND)

    def finish(self, *, end_seconds: float) -> None:
        self._mux(self._stream.encode(None), until_seconds=end_seconds)
        self._close()
        if self._error is not None:
            raise self._error
        take_place(self._part, self._target)

    def discard(self) -> None:
        self._error = self._error or OSError("discarded")
        with suppress(OSError, av.FFmpegError):
            self._close()
        self._part.unlink(missing_ok=True)

    def _mux(self, packets: list[av.Packet], *, until_seconds: float) -> None:
        """Write pictures, and the sound up to their time."""
        try:
            while self._packet is not None and (self._packet.pts or 0) * self._packet.time_base <= until_seconds:
                self._container.mux(self._packet)
                self._packet = next(self._packets, None) if self._packets else None
        except av.FFmpegError:
            # Sound that the container does not take ends here.
            self._packet = None
        self._container.mux(packets)
        if self._error is not None:
            raise self._error

    def _close(self) -> None:
        if self._packets is not None:
            self._packets.close()
            self._container.close()
        self._file.close()


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    *,
    frames_per_second: float,
    sound: Source | None = None,
) -> None:
    """Write RGB frames, uint8 arrays of shape (height, width, 3), to a WebM or MP4 file.

    Raises:
        VideoError: As in `VideoWriter`, and `VideoWriteError` when there is no frame.
        ValueError: As in `VideoWriter`.
    """
    num_frames = 0
    with VideoWriter(path, frames_per_second=frames_per_second, sound=sound) as writer:
        for rgb in frames:
            writer.write(rgb)
            num_frames += 1
    if num_frames == 0:
        raise VideoWriteError(f"Expected at least one frame for {writer.path.name!r}, got none; pass some.")
