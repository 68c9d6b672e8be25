"""Turn a clip of a dataset into a file of face crops, cut out as `dfer_hf.VideoPredictor` cuts them out.

Frames are streamed. Only crops are kept until the clip ends, in memory up to a limit and on disk above it.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from dfer_hf.faces import FaceDetector, MtcnnFaceDetector, NoFaceFoundError
from dfer_hf.faces.alignment import CROP_SIZE
from dfer_hf.faces.boxes import box_area
from dfer_hf.faces.crop_stream import WORKING_SIDE, CroppedFrame, crop_faces, crop_settings, rank
from dfer_hf.faces.low_light import METHOD, brighten
from dfer_hf.video import Frame, VideoLimits, read_frames
from training.cache.shards import ClipDetails, frame_bytes
from training.datasets.corpus import Clip, CorpusError
from training.datasets.media import frame_paths

ALIGNMENTS = ("arcface_112", "corpus")
FOLDER_FRAMES_PER_SECOND = 25.0
"""Assumed rate of frames in a folder, which carry no times; it decides how often faces are detected among them."""

LIMITS = VideoLimits(max_bytes=None, max_seconds=None, max_width=8192, max_height=8192, max_frames_per_second=None)
"""Limits are wider than for uploads: Aff-Wild2 has videos of a quarter of an hour."""

_CROPS_IN_MEMORY_BYTES = 128_000_000


@dataclass(frozen=True)
class FaceCropper:
    """Turns clips into crops; it can be pickled for other processes.

    Args:
        alignment: `arcface_112`, or `corpus` for frames that are crops already and are only resized.
        low_light: Whether to brighten dark crops.
        detector: What finds the faces.
        crop_size: Side of the crops in pixels; with `arcface_112` it is 112, at which faces are cut out everywhere.

    Raises:
        ValueError: If the alignment is unknown, or has no crops of that size.
    """

    alignment: str = "arcface_112"
    low_light: bool = False
    detector: FaceDetector = field(default_factory=MtcnnFaceDetector)
    crop_size: int = CROP_SIZE

    def __post_init__(self) -> None:
        if self.alignment not in ALIGNMENTS:
            raise ValueError(
                f"Expected an alignment among {', '.join(ALIGNMENTS)}, got {self.alignment!r}. Choose one."
            )
        if self.crop_size < 1 or (self.alignment != "corpus" and self.crop_size != CROP_SIZE):
            raise ValueError(
                f"Expected crops of {CROP_SIZE} pixels with the alignment {self.alignment}, or of any size with "
                f"corpus, got {self.crop_size}. Leave --crop-size out, or prepare with --alignment corpus."
            )

    @property
    def detector_name(self) -> str:
        """The detector, as a processor's `detector` names it."""
        if self.alignment == "corpus":
            return "corpus"
        return str(self.detector.settings["detector"])

    @property
    def settings(self) -> dict[str, Any]:
        """Everything else that decides how the crops look, as plain values to be recorded."""
        if self.alignment == "corpus":
            return {"low_light": METHOD} if self.low_light else {}
        return crop_settings(self.detector, low_light=self.low_light) | {
            "folder_frames_per_second": FOLDER_FRAMES_PER_SECOND
        }

    def __call__(self, clip: Clip, path: Path) -> ClipDetails:
        """Write the crops of a clip as a `.npy` file, uint8 of shape `(num_frames, crop_size, crop_size, 3)`.

        Every frame of the source has its crop, so that labels of frames stay aligned.

        Args:
            clip: The clip.
            path: The file to write; crops that do not fit into memory are kept in its folder meanwhile.

        Raises:
            VideoError: If a video or a frame is missing or cannot be decoded.
            CorpusError: If a folder has no frames, or frames of different sizes.
            NoFaceFoundError: If no frame shows a face.
        """
        odd: list[str] = []
        details = self._write(clip, path, odd.append)
        num_labels = len(clip.frame_labels or details.seconds)
        if num_labels != len(details.seconds):
            odd.append(f"Expected {num_labels} frames, as many as are labelled, got {len(details.seconds)}.")
        return replace(details, warnings=tuple(odd))

    def _write(self, clip: Clip, path: Path, warn: Callable[[str], None]) -> ClipDetails:
        with tempfile.SpooledTemporaryFile(_CROPS_IN_MEMORY_BYTES, dir=str(path.parent)) as spool:
            if self.alignment == "corpus":
                seconds = self._resize_all(clip_frames(clip.source, warn=warn), spool)
                places = np.arange(len(seconds))
                has_face = np.ones(len(seconds), dtype=bool)
            else:
                frames = clip_frames(clip.source, max_side=WORKING_SIDE, warn=warn)
                if clip.source.is_dir():
                    frames = _of_one_size(frames, clip.source)
                seconds, faces = _keep_all(crop_faces(frames, self.detector, low_light=self.low_light), spool)
                if not faces:
                    raise NoFaceFoundError(
                        f"Expected a face in {clip.source.name}, but none was found in {len(seconds)} frames. "
                        "Leave the clip out, or prepare with --alignment corpus if the frames are crops."
                    )
                places, has_face = _places(max(faces, key=_Face.rank), len(seconds))
            with path.open("wb") as file:
                self._gather(spool, places, file)
        return ClipDetails(clip.name, tuple(range(len(seconds))), tuple(has_face.tolist()), tuple(seconds))

    def _gather(self, spool: Any, places: np.ndarray, file: BinaryIO) -> None:
        """Copy the crops at `places` of the spool into a `.npy` file, in this order."""
        shape, size = (len(places), self.crop_size, self.crop_size, 3), frame_bytes(self.crop_size)
        layout = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, layout)
        for place in places.tolist():
            spool.seek(place * size)
            file.write(spool.read(size))

    def _resize_all(self, frames: Iterable[Frame], spool: Any) -> list[float]:
        """Write frames that are crops already into the spool, resized as Pillow does it, which the papers used."""
        seconds = []
        for frame in frames:
            planes = torch.from_numpy(frame.rgb).permute(2, 0, 1)
            planes = functional.resize(planes, [self.crop_size, self.crop_size], antialias=True)
            crop = planes.permute(1, 2, 0).contiguous().numpy()
            spool.write((brighten(crop) if self.low_light else crop).tobytes())
            seconds.append(frame.time_seconds)
        return seconds


def clip_frames(
    source: Path, *, max_side: int | None = None, warn: Callable[[str], None] | None = None
) -> Iterator[Frame]:
    """Stream the frames of a video, a folder of frames, or one picture, as inference reads them.

    Args:
        source: The clip's source.
        max_side: Shrink each frame so that its longer side has at most this many pixels.
        warn: Called with each sentence about what is odd.

    Raises:
        VideoError: If a file is missing or cannot be decoded; the message names it.
        CorpusError: If a folder has no frames.
    """
    if not source.is_dir():
        yield from read_frames(source, limits=LIMITS, max_side=max_side, warn=warn)
        return
    for index, path in enumerate(frame_paths(source)):
        frame = next(read_frames(path, limits=LIMITS, max_side=max_side, warn=warn))
        yield replace(frame, index=index, time_seconds=index / FOLDER_FRAMES_PER_SECOND)


@dataclass
class _Face:
    """Where one person was seen: frames, the places of their crops in the spool, and how large."""

    track_id: int
    frames: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    total_area: float = 0.0

    def rank(self) -> tuple[int, float, int]:
        """How important the face is in the clip."""
        return rank(self.track_id, len(self.frames), self.total_area)


def _keep_all(cropped: Iterable[CroppedFrame], spool: Any) -> tuple[list[float], list[_Face]]:
    """Write the crops of all faces into the spool as they come; times of the frames, and the faces."""
    seconds: list[float] = []
    faces: dict[int, _Face] = {}
    num_crops = 0
    for position, frame in enumerate(cropped):
        seconds.append(frame.time_seconds)
        for seen in frame.faces:
            spool.write(seen.crop.tobytes())
            face = faces.setdefault(seen.track_id, _Face(seen.track_id))
            face.frames.append(position)
            face.places.append(num_crops)
            face.total_area += box_area(seen.box)
            num_crops += 1
    return seconds, list(faces.values())


def _places(face: _Face, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which crop each frame shows, and whether it is the frame's own.

    Where a frame has no crop of the face, it shows the nearest one, the earlier of two.
    """
    seen, places = np.array(face.frames), np.array(face.places)
    frames = np.arange(num_frames)
    after = np.searchsorted(seen, frames).clip(max=len(seen) - 1)
    before = np.maximum(after - (seen[after] > frames), 0)
    nearest = np.where(np.abs(seen[before] - frames) <= np.abs(seen[after] - frames), before, after)
    return places[nearest], seen[nearest] == frames


def _of_one_size(frames: Iterable[Frame], source: Path) -> Iterator[Frame]:
    """Refuse frames of different sizes, between which faces cannot be followed."""
    first: tuple[int, ...] | None = None
    for frame in frames:
        first = first or frame.rgb.shape
        if frame.rgb.shape != first:
            raise CorpusError(
                f"Expected frames of one size in {source}, got {first[1]}×{first[0]} pixels and, in frame "
                f"{frame.index}, {frame.rgb.shape[1]}×{frame.rgb.shape[0]}. If they are crops already, prepare "
                "with --alignment corpus."
            )
        yield frame
