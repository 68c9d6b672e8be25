"""Say how well a face is seen: size, sharpness, roll, turn, and whether all that is enough to answer; no torch."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from .alignment import ARCFACE_TEMPLATE, similarity_transform

# Where dfer-aen-small is clearly less often right (torch 2.14.1, AMD EPYC with AVX2), on 654 photographs of faces with
# seven labels. Right are, of the same faces small or blurred and as they came: 47 % and 55 % of those 20 to 22 pixels
# wide, 58 % and 60 % from 22 to 24; 43 % and 61 % at a sharpness of 0.18 to 0.20, 52 % and 58 % from 0.22 to 0.24. Of
# those with a confidence below 0.97, 28 % and 37 %. Of faces turned by 40 degrees or more 17 % are, where 35 % would
# be as many as of others with these labels; of rendered heads turned by 60 degrees 94 % are above it, and 7 % of those
# turned by 30.
MIN_SIZE_PIXELS = 22.0
MIN_SHARPNESS = 0.2
MIN_CONFIDENCE = 0.97
MAX_TURN_DEGREES = 40.0
# Nearer to lying than to standing, and less than a fifth of what the answer is about; these were not measured.
MAX_ROLL_DEGREES = 50.0
MIN_COVERAGE = 0.2

_MIN_SHOWN_PIXELS = 400
_EYE_DISTANCE = float(np.linalg.norm(ARCFACE_TEMPLATE[1] - ARCFACE_TEMPLATE[0]))
# How far nose and mouth stand out before the eyes, in pixels of the crop: ICT-FaceKit's mean face.
_DEPTHS = np.array([[0.0], [0.0], [20.8], [5.2], [5.2]])
_FACE = np.concatenate([ARCFACE_TEMPLATE, _DEPTHS], axis=1)
_FIT_POSE = np.linalg.pinv(_FACE - _FACE.mean(axis=0))  # (3, 5)


@dataclass(frozen=True)
class FaceQuality:
    """How well one face is seen; of a face seen in several frames, the medians.

    Args:
        size_pixels: Width of the face in pixels of the original frame.
        sharpness: Share of fine detail in the contrast of the aligned crop, see `sharpness`.
        roll_degrees: How far the face lies on its side: positive when its head tips to the right of the picture, 90
            when it lies there.
        turn_degrees: How far the face looks away from the camera, to the side, up or down together: 0 when frontal,
            about 90 in profile.
        template_distance: How far the five points are from those of a frontal face, root mean square after the best
            similarity, as share of the distance between the eyes.
        coverage: Share of the frames from the face's first to its last in which it was seen.
        confidence: Of the detector; low for faces that lie, are covered or are none.
    """

    size_pixels: float
    sharpness: float
    roll_degrees: float
    turn_degrees: float
    template_distance: float
    coverage: float
    confidence: float

    @property
    def problems(self) -> tuple[str, ...]:
        """What is too little for a sure answer, as parts of a sentence; empty when the face is seen well."""
        roll = abs(self.roll_degrees)
        found = {
            f"the face is only {self.size_pixels:.0f} pixels wide": self.size_pixels < MIN_SIZE_PIXELS,
            # A small face is blurred when enlarged: one cause is named once.
            "the picture is blurred": self.sharpness < MIN_SHARPNESS and self.size_pixels >= MIN_SIZE_PIXELS,
            "the face lies on its side": MAX_ROLL_DEGREES < roll <= 135,
            "the face is upside down": roll > 135,
            "the face is turned far away from the camera": self.turn_degrees > MAX_TURN_DEGREES,
            "the face is hardly recognised as one": self.confidence < MIN_CONFIDENCE,
            f"the face is seen in only {self.coverage:.0%} of the frames": self.coverage < MIN_COVERAGE,
        }
        return tuple(problem for problem, is_so in found.items() if is_so)

    @property
    def is_enough(self) -> bool:
        """Whether the face is seen well enough for its answer to be taken as sure."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "is_enough": self.is_enough,
            "problems": list(self.problems),
            "size_pixels": round(self.size_pixels, 1),
            "sharpness": round(self.sharpness, 3),
            "roll_degrees": round(self.roll_degrees, 1),
            "turn_degrees": round(self.turn_degrees, 1),
            "template_distance": round(self.template_distance, 3),
            "coverage": round(self.coverage, 4),
            "confidence": round(self.confidence, 4),
        }


def measure_quality(
    *, points: np.ndarray, boxes: np.ndarray, confidences: np.ndarray, crops_sharpness: np.ndarray, coverage: float
) -> FaceQuality:
    """Judge one face from the frames in which it was analysed.

    Args:
        points: Left eye, right eye, nose, left and right mouth corner in pixels of the original frames, `(N, 5, 2)`.
        boxes: Left, top, right and bottom in the same pixels, `(N, 4)`.
        confidences: Of the detector, `(N,)`.
        crops_sharpness: `sharpness` of each aligned crop, `(N,)`.
        coverage: Share of the frames from the face's first to its last in which it was seen.

    Raises:
        ValueError: If there is no frame, or five points coincide.
    """
    points, boxes = np.asarray(points, dtype=np.float64), np.asarray(boxes, dtype=np.float64)
    counts = {len(points), len(boxes), len(confidences), len(crops_sharpness)}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"Expected points, box, confidence and sharpness of one frame or more, got {counts} of them.")
    transforms = similarity_transform(points)  # (N, 2, 3)
    # In pixels of the crop, (N, 5, 2).
    placed = points @ transforms[:, :, :2].swapaxes(1, 2) + transforms[:, None, :, 2]
    distances = np.sqrt(((placed - ARCFACE_TEMPLATE) ** 2).sum(axis=2).mean(axis=1)) / _EYE_DISTANCE
    return FaceQuality(
        size_pixels=float(np.median(boxes[:, 2] - boxes[:, 0])),
        sharpness=float(np.median(crops_sharpness)),
        # Of the middle transform, because degrees jump at 180.
        roll_degrees=float(roll_degrees(np.median(transforms, axis=0))),
        turn_degrees=float(np.median(_turn_degrees(placed))),
        template_distance=float(np.median(distances)),
        coverage=float(coverage),
        confidence=float(np.median(confidences)),
    )


def sharpness(crop: np.ndarray) -> float:
    """Measure how much of the detail between brows and mouth is fine: 0.35 in a sharp portrait, 0.15 in a blurred one.

    It is the spread of what lies between blurs of one and two pixels, as share of that between one and six, so that
    contrast cancels out, and grain and blocks, which are finer than a pixel, count little. An enlarged face has as
    little fine detail as a blurred one. What the crop shows from beyond the frame, which is black, does not count.

    Args:
        crop: Aligned face, uint8 RGB of shape `(112, 112, 3)`.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[28:104, 24:88]
    is_shown = cv2.erode((grey > 0).view(np.uint8), np.ones((9, 9), np.uint8))
    if cv2.countNonZero(is_shown) < _MIN_SHOWN_PIXELS:
        return 0.0
    one, two, six = (cv2.GaussianBlur(grey.astype(np.float32), (0, 0), sigma) for sigma in (1, 2, 6))
    fine, all_detail = (cv2.meanStdDev(one - blur, mask=is_shown)[1].item() for blur in (two, six))
    return fine / max(all_detail, 1.0)


def roll_degrees(transforms: np.ndarray) -> np.ndarray:
    """Tell how far faces lie on their side, `(...)`, from their transforms to the crop, `(..., 2, 3)`."""
    return np.degrees(np.arctan2(-transforms[..., 1, 0], transforms[..., 0, 0]))


def _turn_degrees(placed: np.ndarray) -> np.ndarray:
    """Angle between where a face looks and the camera, `(N,)`, of points `(N, 5, 2)` in the crop."""
    axes = _FIT_POSE @ placed  # (N, 3, 2): what a pixel along each axis of the face moves in the crop
    scale = np.sqrt((axes**2).sum(axis=(1, 2)) / 2)
    facing = axes[:, 0, 0] * axes[:, 1, 1] - axes[:, 0, 1] * axes[:, 1, 0]
    return np.degrees(np.arctan2(np.linalg.norm(axes[:, 2], axis=1) * scale, facing))
