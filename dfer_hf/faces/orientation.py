"""Find out whether a clip lies on its side or upside down although its file does not say so."""

from collections.abc import Iterable, Sequence

import numpy as np

from .alignment import similarity_transform
from .detection import Detection, FaceDetector
from .quality import FaceQuality, roll_degrees

# Of pictures that stand, these suspect 1 % of large portraits, 6 % of frames of videos and 27 % of photographs of
# small faces; of those that lie, they miss 1 %.
SUSPECT_CONFIDENCE = 0.998
SUSPECT_ROLL_DEGREES = 35.0
# Chosen on 144 portraits at four sizes, 527 photographs of faces at three and 13 clips (MTCNN): of those that stand
# none is turned, of single pictures that lie 95 % to 99 % are.
CLEAR_RATIO = 1.4
MIN_EVIDENCE = 4.0
MAX_ROLL_DEGREES = 30.0


def looks_turned(qualities: Sequence[FaceQuality]) -> bool:
    """Tell whether it is worth asking `find_turn`, from what is known anyway.

    That is so where no face was found, and where the detector is not quite sure of any or sees them all tilted.

    Args:
        qualities: How well each face of the clip is seen.
    """
    return all(
        quality.confidence < SUSPECT_CONFIDENCE or abs(quality.roll_degrees) > SUSPECT_ROLL_DEGREES
        for quality in qualities
    )


def find_turn(frames: Iterable[np.ndarray], detector: FaceDetector) -> int:
    """Find by how many quarter turns clockwise a clip stands upright: `np.rot90(frame, -turn)`.

    Faces are searched in all four orientations. Where a face stands, a detector is surer of it and sees it less tilted
    than where it lies; only a clear difference counts, and a face that is tilted by 45 degrees never gives one. Clips
    that stand are known by their first frame with a face as a rule.

    Args:
        frames: A few frames spread over the clip, RGB uint8 of shape `(height, width, 3)`.
        detector: What finds the faces.

    Returns:
        0 to 3; 0 unless the evidence is clear.
    """
    evidence, best = np.zeros(4), np.zeros(4)
    for frame in frames:
        turned = [np.ascontiguousarray(np.rot90(frame, -turn)) for turn in range(4)]
        found = np.array([_evidence(detections) for detections in detector.detect(turned)])
        evidence, best = evidence + found[:, 0], np.maximum(best, found[:, 1])
        if evidence[0] > CLEAR_RATIO * evidence[1:].max():
            return 0
    turn = int(evidence.argmax())
    is_clear = evidence[turn] > CLEAR_RATIO * np.delete(evidence, turn).max()
    return turn if is_clear and best[turn] > MIN_EVIDENCE else 0


def _evidence(detections: Sequence[Detection]) -> tuple[float, float]:
    """How sure it is that the most upright face stands; 0 without a face, and the same of hardly tilted ones alone."""
    if not detections:
        return 0.0, 0.0
    doubt = 1 - np.array([detection.confidence for detection in detections])
    rolls = roll_degrees(similarity_transform(np.stack([detection.points for detection in detections])))
    # Logarithmic, because a detector's confidence is hardly below 1 on most faces; 1e-5 is what float32 still tells
    # from 1.
    scores = -np.log(np.maximum(doubt, 1e-5)) * np.maximum(np.cos(np.radians(rolls)), 0)
    return float(scores.max()), float((scores * (np.abs(rolls) < MAX_ROLL_DEGREES)).max())
