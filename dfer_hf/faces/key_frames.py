"""Choose the frames of a clip that faces are looked for on, and look for them.

A detector that can do so searches only every second of these frames; on the others it looks where faces were just
before and just after, which costs a tenth.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import cv2
import numpy as np

from ..video.reader import Frame
from .boxes import areas, distances
from .detection import Detection, FaceDetector, RefiningFaceDetector

MAX_INTERVAL_FRAMES = 16
"""From one key frame to the next."""

# The first in grey levels, over half of the picture.
_CUT_MIN_DIFFERENCE, _CUT_MAX_CORRELATION = 8.0, 0.6
# Of its own size, from one key frame to the next.
_FAST_MOTION = 0.4


@dataclass(eq=False)
class Moment:
    """A frame on its way to whoever follows the faces, and what is known of it so far.

    Attributes:
        position: 0, 1, 2, … in the clip.
        frame: The frame itself.
        is_key: Whether faces are looked for on it.
        starts_shot: Whether it comes after a cut, or first.
        detections: Faces found on it.
        faces: Who is in it, where, and whether that is interpolated; for whoever follows the faces to fill.
    """

    position: int
    frame: Frame
    is_key: bool
    starts_shot: bool
    detections: list[Detection] = field(default_factory=list)
    faces: list[tuple[Any, Detection, bool]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Time of the frame."""
        return self.frame.time_seconds


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Tell whether a scene changes between two consecutive frames, from their thumbnails.

    At a cut more than half of the picture changes, unlike when something passes before a part of it, and what comes
    does not correlate with what was there, unlike when the exposure changes. Two shots of different people before one
    background are not told apart. Thumbnails are float, `(height, width, 3)`.
    """
    if np.median(np.abs(before - after)) < _CUT_MIN_DIFFERENCE:
        return False
    before, after = before - before.mean(), after - after.mean()
    norm = np.linalg.norm(before) * np.linalg.norm(after)
    # Equality is for pictures of one grey, whose norm is zero.
    return bool((before * after).sum() <= _CUT_MAX_CORRELATION * norm)


def _thumbnail(rgb: np.ndarray) -> np.ndarray:
    # Every few pixels are enough for a mean, and many times as fast.
    step = max(1, min(rgb.shape[:2]) // 72)
    return cv2.resize(rgb[::step, ::step], (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32)


def choose_key_frames(frames: Iterable[Frame], detect_every_seconds: float) -> Iterator[Moment]:
    """Decide on which frames to detect; one frame behind, since the last of a shot is one of them."""
    previous: Frame | None = None
    previous_thumbnail = np.zeros(0)
    position, key_position, key_seconds, starts_shot = 0, 0, 0.0, True
    for frame in frames:
        thumbnail = _thumbnail(frame.rgb)
        if previous is not None:
            ends_shot = is_cut(previous_thumbnail, thumbnail)
            # Half a frame of tolerance, or rounding of time stamps would put detection off by a whole frame.
            tolerance = (frame.time_seconds - previous.time_seconds) / 2
            is_due = previous.time_seconds >= key_seconds + detect_every_seconds - tolerance
            is_late = position - key_position >= MAX_INTERVAL_FRAMES
            is_key = starts_shot or ends_shot or is_due or is_late
            yield Moment(position, previous, is_key, starts_shot)
            if is_key:
                key_position, key_seconds = position, previous.time_seconds
            position += 1
            starts_shot = ends_shot
        previous, previous_thumbnail = frame, thumbnail
    if previous is not None:
        yield Moment(position, previous, is_key=True, starts_shot=starts_shot)


def detect_on_key_frames(moments: Iterable[Moment], detector: FaceDetector, batch_size: int) -> Iterator[Moment]:
    """Run the detector on the key frames, `batch_size` of them at once, and between those where a face moves fast."""
    waiting: list[Moment] = []
    keys: list[Moment] = []
    last_key: Moment | None = None
    num_keys = 0

    for moment in chain(moments, [None]):
        if moment is not None:
            waiting.append(moment)
            keys += [moment] if moment.is_key else []
        if len(keys) == batch_size or (moment is None and keys):
            if isinstance(detector, RefiningFaceDetector):
                _search_every_second(keys, last_key, detector, num_before=num_keys)
            else:
                _search(keys, detector)
            _search(_within_fast_motion(waiting, last_key), detector)
            yield from waiting
            num_keys += len(keys)
            waiting, keys, last_key = [], [], keys[-1]


def _search(moments: Sequence[Moment], detector: FaceDetector) -> None:
    found = detector.detect([moment.frame.rgb for moment in moments]) if moments else []
    for moment, detections in zip(moments, found, strict=True):
        moment.is_key, moment.detections = True, detections


def _search_every_second(
    keys: Sequence[Moment], last_key: Moment | None, detector: RefiningFaceDetector, *, num_before: int
) -> None:
    """Search every second key frame, and look at those between where faces were on either side in the same shot.

    What shows fewer faces than both sides do is searched as well. Nobody is lost by this: whoever counts is found
    twice in a row, and so on a frame that is searched. `num_before` key frames came before; where they are taken two
    by two or four by four, the same ones are searched.
    """
    between, sides = [], []
    for number, (before, moment, after) in enumerate(zip([last_key, *keys], keys, keys[1:], strict=False)):
        if (num_before + number) % 2 == 0 and before is not None and not moment.starts_shot:
            between.append(moment)
            sides.append([before] if after.starts_shot else [before, after])
    _search([moment for moment in keys if moment not in between], detector)
    if not between:
        return
    boxes = [np.array([face.box for side in both for face in side.detections]).reshape(-1, 4) for both in sides]
    found = detector.refine([moment.frame.rgb for moment in between], boxes)
    missed = []
    for moment, detections, both in zip(between, found, sides, strict=True):
        moment.detections = detections
        if len(detections) < max(1, min(len(side.detections) for side in both)):
            missed.append(moment)
    _search(missed, detector)


def _within_fast_motion(moments: Sequence[Moment], last_key: Moment | None) -> list[Moment]:
    """Every second frame between two key frames over which the surest face moved far; a line would miss it there."""
    chosen: list[Moment] = []
    between: list[Moment] = []
    for moment in moments:
        if not moment.is_key:
            between.append(moment)
            continue
        if last_key is not None and not moment.starts_shot and last_key.detections and moment.detections:
            face = max(moment.detections, key=lambda detection: detection.confidence)
            boxes, others = np.array([face.box]), np.array([other.box for other in last_key.detections])
            moved = distances(boxes, others).min() / np.sqrt(areas(boxes)[0])
            chosen += between[1::2] if moved > _FAST_MOTION else []
        last_key, between = moment, []
    return chosen
