"""Read the face before a camera as its pictures come, and answer each at once."""

import io
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .face_summary import decide_clip
from .faces import Detection, MtcnnFaceDetector
from .faces.alignment import align
from .faces.boxes import box_area
from .faces.low_light import brighten
from .prediction import FramePrediction
from .video.sampling import frame_rate
from .worker import JobRefusedError

if TYPE_CHECKING:
    from .predictor import VideoPredictor

MAX_SIDE = 640
"""Pixels of the longer side of a picture; the page sends half of that."""

MAX_BYTES = 300_000
SMOOTHING_SECONDS = 1.5
# Of the shorter side of a picture: who sits before a camera is seen larger than that.
_MIN_FACE = 1 / 6


class LiveReader:
    """Answers every picture from those of the last moments, so that the answer does not flicker.

    A system that sees frames apart sees each picture once; what it made of them is kept in a ring, and is answered
    together: by the mean of the last `SMOOTHING_SECONDS` where it takes any number of frames, or its own smoothing as
    of CFC-SP, and else by as many as it takes, spread over its window as in a file. One face is read: the one that was
    read before, or the largest.

    Args:
        predictor: With the system.
    """

    def __init__(self, predictor: "VideoPredictor") -> None:
        self.engine, self.rules = predictor.engine, predictor.engine.crop_rules
        self.sees_frames_apart = predictor.model.sees_frames_apart
        is_any_length = self.engine.takes_any_length
        self.window_seconds = SMOOTHING_SECONDS if is_any_length else self.rules.window_seconds
        self.ring: deque[tuple[float, Any]] = deque()
        self.box: tuple[float, float, float, float] | None = None
        self.num_pictures = 0
        self.detector: MtcnnFaceDetector | None = None

    def add(self, rgb: np.ndarray, time_seconds: float) -> FramePrediction:
        """Answer the next picture; its scores are those of the ring, and None where no face is seen.

        Args:
            rgb: The picture, uint8 of shape `(height, width, 3)`, with sides of `MAX_SIDE` pixels at most.
            time_seconds: When it was taken, later than the one before.
        """
        index, self.num_pictures = self.num_pictures, self.num_pictures + 1
        while self.ring and time_seconds - self.ring[0][0] > self.window_seconds:
            self.ring.popleft()
        face = self._find(rgb)
        if face is None:
            return FramePrediction(index, time_seconds)
        crop = align(rgb, face.points)
        crop = brighten(crop) if self.rules.low_light else crop
        self.ring.append((time_seconds, self.engine.encode(crop[None]) if self.sees_frames_apart else crop))
        times, kept = zip(*self.ring, strict=True)
        chosen = range(len(kept))
        if not self.engine.takes_any_length:
            chosen = self.rules.sampling.indices(len(kept)).tolist()
        clip = [kept[position] for position in chosen]
        if self.sees_frames_apart:
            answers, _ = self.engine.answer_encoded(clip, frames_per_second=frame_rate(times))
        else:
            answers = self.engine.answer([np.stack(clip)])
        fine, coarse, is_unsure = decide_clip(self.engine, answers.fine[0], answers.coarse[0])
        return FramePrediction(index, time_seconds, face.box, fine, coarse, is_unsure=is_unsure, points=face.points)

    def _find(self, rgb: np.ndarray) -> Detection | None:
        """The face that was read before, or the largest, after which the ring starts anew."""
        if self.detector is None:
            least = max(24, round(min(rgb.shape[:2]) * _MIN_FACE))
            self.detector = MtcnnFaceDetector(detection_side=MAX_SIDE, min_face_pixels=least)
        (faces,) = self.detector.detect([rgb])
        if not faces:
            return None
        before = self.box
        face = faces[0]
        if before is not None:
            face = max(faces, key=lambda other: _overlap(other.box, before))
            if _overlap(face.box, before) == 0:
                self.ring.clear()
        self.box = face.box
        return face


def _overlap(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Area that two boxes share."""
    left, top = max(box[0], other[0]), max(box[1], other[1])
    right, bottom = min(box[2], other[2]), min(box[3], other[3])
    return box_area((left, top, right, bottom)) if right > left and bottom > top else 0.0


def watch(predictor: "VideoPredictor") -> Callable[[bytes], dict[str, Any]]:
    """Get ready to watch a camera, in a process of its own.

    Args:
        predictor: With the system that answers.

    Returns:
        What turns a JPEG into an answer: `FramePrediction.to_dict` with its words, and the box as shares of width and
        height. It raises JobRefusedError for whatever is no JPEG, or too large.
    """
    reader, started = LiveReader(predictor), time.monotonic()
    reader.engine.settle()

    def answer(picture: bytes) -> dict[str, Any]:
        rgb = decode_picture(picture)
        seen = reader.add(rgb, time.monotonic() - started)
        height, width = rgb.shape[:2]
        box = None if seen.box is None else (np.array(seen.box) / (width, height, width, height)).round(4).tolist()
        return seen.to_dict() | {"answer": seen.answer, "box": box}

    return answer


def decode_picture(picture: bytes) -> np.ndarray:
    """Decode a JPEG, `(height, width, 3)`.

    Raises:
        JobRefusedError: If it is none, or larger than `MAX_SIDE`.
    """
    try:
        with Image.open(io.BytesIO(picture), formats=["JPEG"]) as opened:
            if max(opened.size) > MAX_SIDE or min(opened.size) < 24:
                raise JobRefusedError(f"Expected a picture of 24 to {MAX_SIDE} pixels, got {opened.size}. Resize it.")
            return np.asarray(opened.convert("RGB"))
    except (Image.DecompressionBombError, UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise JobRefusedError(
            f"Expected a JPEG of at most {MAX_SIDE} pixels, got something else. Start again."
        ) from error
