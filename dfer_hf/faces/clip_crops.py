"""From a video file to the aligned crops of one person, for callers who bring only a file; copied to the Hub."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import cv2
import numpy as np

from .alignment import align
from .detection import Detection, FaceDetector, MtcnnFaceDetector, NoFaceFoundError

WORKING_SIDE = 1280
_MAX_DAMAGED_PACKETS = 250  # OpenCV says "no frame" for a damaged packet as for the end
_MAX_STEP = 1.5  # how far a face may be from where it was last, in its own sizes
_MAX_GROWTH = 2.5


def read_chosen_frames(
    path: str, choose: Callable[[int, float], Sequence[int] | np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Decode some frames of a video, in two passes, so that memory holds no others.

    Args:
        path: The file; whatever OpenCV's own FFmpeg reads, turned upright.
        choose: Called with the number of frames and the frames per second; returns sorted indices.

    Returns:
        Frames, RGB uint8 of shape `(chosen, height, width, 3)`, shrunk to sides of 1280 pixels at most, and the
        indices, `(chosen,)`.

    Raises:
        ValueError: If no frame can be decoded.
    """
    capture = cv2.VideoCapture(path)
    num_frames = sum(1 for _ in _steps(capture))
    frames_per_second = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if num_frames == 0:
        raise ValueError(
            f"Expected a video with frames, but none can be decoded of {path!r}. Check the file."
        )
    indices = np.asarray(choose(num_frames, frames_per_second))
    capture, last, frames = cv2.VideoCapture(path), indices.max(), {}
    for index in _steps(capture):
        if index in indices:
            decoded, bgr = capture.retrieve()
            if not decoded:
                raise ValueError(f"Frame {index} of {path!r} cannot be decoded. Check the file.")
            frames[index] = cv2.cvtColor(_shrink(bgr), cv2.COLOR_BGR2RGB)
        if index == last:
            break
    capture.release()
    return np.stack([frames[index] for index in indices.tolist()]), indices


def _steps(capture: cv2.VideoCapture) -> Iterator[int]:
    """Go from frame to frame, and give the index of each."""
    index = num_failed = 0
    while num_failed < _MAX_DAMAGED_PACKETS:
        if capture.grab():
            yield index
            index, num_failed = index + 1, 0
        else:
            num_failed += 1


def crop_largest_face(frames: np.ndarray, detector: FaceDetector | None = None) -> np.ndarray:
    """Cut out the largest face of a clip in every frame.

    The person whose face is largest in any frame is followed from there. Frames in which that person is not found
    show the crop of the nearest frame in which they are.

    Args:
        frames: RGB, uint8 of shape `(num_frames, height, width, 3)`.
        detector: What finds the faces; MTCNN where none is given.

    Returns:
        Crops, uint8 of shape `(num_frames, 112, 112, 3)`.

    Raises:
        NoFaceFoundError: If no frame shows a face.
        ImportError: If facenet-pytorch is not installed, and no detector given.
    """
    detector = detector or _mtcnn()
    found: list[list[Detection]] = []
    for index, frame in enumerate(frames):
        is_repeated = index > 0 and np.array_equal(frame, frames[index - 1])
        found.append(found[-1] if is_repeated else detector.detect([frame])[0])
    faces = _follow_largest(found)
    if not faces:
        raise NoFaceFoundError(
            f"Expected a face in the video, but none was found in the {len(frames)} frames looked at. "
            "Use a video in which a face is larger, more frontal or better lit."
        )
    nearest = [min(faces, key=lambda seen, index=index: abs(seen - index)) for index in range(len(frames))]
    crops = {index: align(frames[index], face.points) for index, face in faces.items()}
    return np.stack([crops[index] for index in nearest])


@cache
def _mtcnn() -> MtcnnFaceDetector:
    return MtcnnFaceDetector()


def _follow_largest(found: Sequence[Sequence[Detection]]) -> dict[int, Detection]:
    """Index of frame to the face there of the person whose face is largest anywhere; frames without it are left out."""
    largest = {index: max(faces, key=_side) for index, faces in enumerate(found) if faces}
    if not largest:
        return {}
    start = max(largest, key=lambda index: _side(largest[index]))
    followed = {start: largest[start]}
    for indices in (range(start + 1, len(found)), range(start - 1, -1, -1)):
        last = largest[start]
        for index in indices:
            candidates = [face for face in found[index] if _is_near(last, face)]
            if candidates:
                last = followed[index] = min(candidates, key=lambda face, last=last: _distance(last, face))
    return followed


def _is_near(last: Detection, face: Detection) -> bool:
    growth = _side(face) / _side(last)
    return _distance(last, face) < _MAX_STEP * _side(last) and 1 / _MAX_GROWTH < growth < _MAX_GROWTH


def _distance(first: Detection, second: Detection) -> float:
    return float(np.hypot(*(first.points.mean(axis=0) - second.points.mean(axis=0))))


def _side(face: Detection) -> float:
    left, top, right, bottom = face.box
    return float(((right - left) * (bottom - top)) ** 0.5)


def _shrink(picture: np.ndarray) -> np.ndarray:
    scale = WORKING_SIDE / max(picture.shape[:2])
    return (
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    )
