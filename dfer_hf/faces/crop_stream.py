"""Turn frames into tracks and aligned crops, for predictions, the processor and training; copied to the Hub."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..video.reader import Frame
from .alignment import align
from .boxes import box_area
from .detection import FaceDetector, NoFaceFoundError, RefiningFaceDetector
from .low_light import METHOD, brighten
from .tracking import TrackedFrame, track_faces

WORKING_SIDE = 1280
"""Longer side in pixels that larger frames are shrunk to before anything is looked for in them."""

DETECT_EVERY_SECONDS = 0.25

DETECTED_AT_ONCE = 2
"""Frames; one number for all, since the last digit of a point depends on it."""


@dataclass(frozen=True)
class FaceCrop:
    """One person's face in one frame.

    Args:
        track_id: Number of the person in the clip.
        box: Left, top, right and bottom in pixels of the original frame.
        points: Eyes, nose and corners of the mouth in the same pixels, `(5, 2)`.
        confidence: Of the detection.
        crop: The aligned face, uint8 of shape `(112, 112, 3)`.
    """

    track_id: int
    box: tuple[float, float, float, float]
    points: np.ndarray
    confidence: float
    crop: np.ndarray


@dataclass(frozen=True)
class CroppedFrame:
    """The faces of one frame, by rising `track_id`; none where nobody is seen."""

    index: int
    time_seconds: float
    faces: tuple[FaceCrop, ...]


def crop_faces(frames: Iterable[Frame], detector: FaceDetector, *, low_light: bool = False) -> Iterator[CroppedFrame]:
    """Find, follow and cut out every face of every frame.

    Args:
        frames: In the order of time, with sides of `WORKING_SIDE` pixels at most.
        detector: What finds the faces.
        low_light: Whether dark faces are brightened.
    """
    for tracked in _track(frames, detector):
        frame, faces = tracked.frame, []
        for face in tracked.faces:
            crop = align(frame.rgb, face.points)
            left, top, right, bottom = (float(edge) * frame.scale for edge in face.box)
            points = np.asarray(face.points, dtype=np.float32) * frame.scale
            crop = brighten(crop) if low_light else crop
            faces.append(FaceCrop(face.track_id, (left, top, right, bottom), points, face.confidence, crop))
        yield CroppedFrame(frame.index, frame.time_seconds, tuple(faces))


def crop_main_face(
    read: Callable[[], Iterable[Frame]],
    choose: Callable[[np.ndarray], np.ndarray],
    detector: FaceDetector,
    *,
    low_light: bool = False,
) -> np.ndarray:
    """Cut the main face of a clip out of some of its frames.

    The clip is read twice, so that memory holds the chosen crops and no others.

    Args:
        read: Starts to read the frames.
        choose: Called with the indices of the frames that show the face; returns those that are wanted, `(chosen,)`.
        detector: What finds the faces.
        low_light: Whether dark faces are brightened.

    Returns:
        Crops, uint8 of shape `(chosen, 112, 112, 3)`.

    Raises:
        NoFaceFoundError: If no frame shows a face.
    """
    seen: dict[int, dict[int, np.ndarray]] = defaultdict(dict)
    areas: dict[int, float] = defaultdict(float)
    num_frames = 0
    for tracked in _track(read(), detector):
        num_frames += 1
        for face in tracked.faces:
            seen[face.track_id][tracked.frame.index] = face.points
            areas[face.track_id] += box_area(face.box)
    if not seen:
        raise no_face_found("the video", num_frames)
    points = seen[max(seen, key=lambda track: rank(track, len(seen[track]), areas[track]))]
    chosen = choose(np.array(list(points)))
    wanted, crops = set(chosen.tolist()), {}
    for frame in read():
        if frame.index in wanted:
            crop = align(frame.rgb, points[frame.index])
            crops[frame.index] = brighten(crop) if low_light else crop
        if frame.index >= chosen.max():
            break
    return np.stack([crops[index] for index in chosen.tolist()])


def _track(frames: Iterable[Frame], detector: FaceDetector) -> Iterator[TrackedFrame]:
    return track_faces(frames, detector, detect_every_seconds=DETECT_EVERY_SECONDS, batch_size=DETECTED_AT_ONCE)


def rank(track_id: int, num_frames: int, total_area: float) -> tuple[int, float, int]:
    """Order of importance: the main face is the one seen in most frames, then the largest, then the first."""
    return num_frames, total_area / num_frames, -track_id


def no_face_found(name: str, num_frames: int) -> NoFaceFoundError:
    """The error that says in what no face was found."""
    return NoFaceFoundError(
        f"Expected a face in {name}, but none was found in {num_frames} frames. "
        "Use a video in which a face is larger, more frontal or better lit."
    )


def crop_settings(detector: FaceDetector, *, low_light: bool) -> dict[str, Any]:
    """Everything that decides how crops look, as plain values to be recorded with a result."""
    settings = {
        "detector": dict(detector.settings),
        "working_side": WORKING_SIDE,
        "detect_every_seconds": DETECT_EVERY_SECONDS,
    }
    if isinstance(detector, RefiningFaceDetector):
        settings["search_every_seconds"] = 2 * DETECT_EVERY_SECONDS
    return settings | ({"low_light": METHOD} if low_light else {})
