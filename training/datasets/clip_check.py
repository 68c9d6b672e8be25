"""Check the files of clips: whether they are there, long enough and readable."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dfer_hf.video import VideoError, VideoInfo, VideoLimits, VideoNotFoundError, probe, read_frames
from training.datasets.corpus import Clip, CorpusError
from training.datasets.media import frame_paths

MIN_FRAMES = 16
"""Frames that every system reads of a clip; from a shorter clip it reads some twice."""

LIMITS = VideoLimits(max_bytes=None, max_seconds=None, max_frames_per_second=None)
"""Datasets have long videos; the size of pictures stays limited, as one is in memory at a time."""

_TAIL_BYTES = 4096
_ENDINGS = {"jpeg": b"\xff\xd9", "png": b"IEND"}
"""Last bytes of complete pictures, which are recognised without decoding."""


@dataclass(frozen=True)
class ClipReport:
    """The state of a clip's files.

    Args:
        name: Of the clip.
        source: Where it is, or should be.
        num_frames: How many frames it has, where they could be counted.
        missing: Why it counts as missing; None where it is there.
        unreadable: Why it cannot be read, or not to its end; None where it can.
        is_still: Whether it is a single picture.
    """

    name: str
    source: Path
    num_frames: int | None = None
    missing: str | None = None
    unreadable: str | None = None
    is_still: bool = False

    @property
    def is_short(self) -> bool:
        """Whether it has fewer frames than systems read; a still has one on purpose."""
        return self.num_frames is not None and self.num_frames < MIN_FRAMES and not self.is_still


def check_clips(clips: Iterable[Clip], *, deep: bool = False, num_workers: int = 8) -> Iterator[ClipReport]:
    """Check clips with several threads, and report them in their order.

    Reading and decoding release Python's lock, so threads are enough; each has a few clips waiting at any time.

    Args:
        deep: Decode every frame instead of looking at the headers of the first and the last.
    """
    with ThreadPoolExecutor(num_workers) as pool:
        waiting: deque[Future[ClipReport]] = deque()
        for clip in clips:
            waiting.append(pool.submit(check_clip, clip, deep=deep))
            if len(waiting) > 4 * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def check_clip(clip: Clip, *, deep: bool = False) -> ClipReport:
    """Check one clip: a folder of frames, a video or a picture."""
    try:
        return _check_folder(clip, deep=deep) if clip.source.is_dir() else _check_file(clip, deep=deep)
    except OSError as error:  # such as a file that belongs to someone else, or a disk that fails
        return ClipReport(clip.name, clip.source, unreadable=f"{type(error).__name__}: {error}")


def _check_file(clip: Clip, *, deep: bool) -> ClipReport:
    try:
        info = probe(clip.source, limits=LIMITS)
    except VideoNotFoundError:
        return ClipReport(clip.name, clip.source, missing="there is neither a file nor a folder")
    except VideoError as error:
        return ClipReport(clip.name, clip.source, unreadable=str(error))
    num_frames = info.num_frames if info.num_indexed_frames is None else info.num_indexed_frames
    unreadable = _why_unreadable(info, clip.source)
    if deep and unreadable is None:
        num_frames, unreadable = _decode(clip.source)
    return ClipReport(
        clip.name,
        clip.source,
        num_frames=num_frames,
        unreadable=unreadable or _label_mismatch(clip, num_frames),
        is_still=info.is_still,
    )


def _check_folder(clip: Clip, *, deep: bool) -> ClipReport:
    try:
        frames = frame_paths(clip.source)
    except CorpusError as error:
        return ClipReport(clip.name, clip.source, missing=str(error))
    for frame in frames if deep else dict.fromkeys((frames[0], frames[-1])):
        try:
            unreadable = _why_unreadable(probe(frame, limits=LIMITS), frame)
        except VideoError as error:
            unreadable = str(error)
        if deep and unreadable is None:
            _, unreadable = _decode(frame)
        if unreadable is not None:
            return ClipReport(clip.name, clip.source, num_frames=len(frames), unreadable=unreadable)
    return ClipReport(clip.name, clip.source, num_frames=len(frames), unreadable=_label_mismatch(clip, len(frames)))


def _decode(path: Path) -> tuple[int, str | None]:
    """Decode all frames, one at a time, and return how many there were and what went wrong."""
    num_frames, problems = 0, list[str]()
    try:
        for _ in read_frames(path, limits=LIMITS, warn=problems.append):
            num_frames += 1
    except VideoError as error:
        problems.append(str(error))
    return num_frames, " ".join(problems) or None


def _why_unreadable(info: VideoInfo, path: Path) -> str | None:
    ends_early = info.ends_early
    if info.is_still:
        ends_early = _ENDINGS.get(info.codec, b"") not in _tail(path)
    if not ends_early:
        return None
    return f"Expected a whole file, got {path.name!r}, which is cut off; copy it again."


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES), os.SEEK_SET)
        return file.read()


def _label_mismatch(clip: Clip, num_frames: int | None) -> str | None:
    if clip.frame_labels is None or num_frames is None or len(clip.frame_labels) == num_frames:
        return None
    return (
        f"Expected a label for each of its {num_frames} frames, got {len(clip.frame_labels)} labels; unpack the "
        "frames and the annotation of the same release."
    )
