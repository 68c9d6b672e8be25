"""An explanation in words, each with the number that it stands for."""

from collections.abc import Mapping, Sequence

import numpy as np

from .resizing import resized

# Where parts of an aligned face are, x and y as fractions of the crop's side: a place belongs to the nearest. Eyes,
# nose and mouth are those of ArcFace's template, to which every crop is aligned.
ANCHORS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "brows": ((0.24, 0.33), (0.36, 0.31), (0.64, 0.31), (0.76, 0.33)),
    "eyes": ((0.29, 0.46), (0.40, 0.46), (0.60, 0.46), (0.71, 0.46)),
    "nose": ((0.50, 0.50), (0.50, 0.64)),
    "cheeks": ((0.22, 0.66), (0.78, 0.66)),
    "mouth": ((0.37, 0.82), (0.50, 0.80), (0.50, 0.86), (0.63, 0.82)),
    "elsewhere": (
        *((0.05, 0.05), (0.28, 0.12), (0.50, 0.10), (0.72, 0.12), (0.95, 0.05)),
        *((0.02, 0.35), (0.98, 0.35), (0.02, 0.65), (0.98, 0.65), (0.08, 0.95), (0.50, 1.02), (0.92, 0.95)),
    ),
}
PARTS = tuple(ANCHORS)
"""Parts of the face, and `elsewhere`: forehead, chin, hair and what is behind."""
FINE_SIDE = 56

MOVEMENTS: Mapping[str, tuple[str, ...]] = {
    "inner brows up": ("browInnerUp",),
    "outer brows up": ("browOuterUpLeft", "browOuterUpRight"),
    "brows down": ("browDownLeft", "browDownRight"),
    "eyes wide": ("eyeWideLeft", "eyeWideRight"),
    "eyes narrowed": ("eyeSquintLeft", "eyeSquintRight"),
    "eyes closed": ("eyeBlinkLeft", "eyeBlinkRight"),
    "cheeks raised": ("cheekSquintLeft", "cheekSquintRight"),
    "cheeks puffed": ("cheekPuff",),
    "nose wrinkled": ("noseSneerLeft", "noseSneerRight"),
    "upper lip up": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "lower lip down": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "lip corners up": ("mouthSmileLeft", "mouthSmileRight"),
    "lip corners down": ("mouthFrownLeft", "mouthFrownRight"),
    "lip corners drawn in": ("mouthDimpleLeft", "mouthDimpleRight"),
    "lips stretched": ("mouthStretchLeft", "mouthStretchRight"),
    "lips pressed": ("mouthPressLeft", "mouthPressRight"),
    "lips puckered": ("mouthPucker",),
    "lips rounded": ("mouthFunnel",),
    "lips rolled in": ("mouthRollLower", "mouthRollUpper"),
    "chin raised": ("mouthShrugLower",),
    "jaw open": ("jawOpen",),
    "jaw forward": ("jawForward",),
}
"""Movement to the ARKit blendshapes whose mean is its strength; where the eyes look is none of an expression."""


def part_masks(side: int) -> np.ndarray:
    """Which part each cell of a square map belongs to, `(parts, side, side)` of booleans."""
    centres = (np.arange(side) + 0.5) / side
    places = np.stack(np.meshgrid(centres, centres), axis=-1)  # (side, side, 2), x and y
    distances = [
        np.linalg.norm(places[:, :, None] - np.array(anchors), axis=-1).min(axis=-1) for anchors in ANCHORS.values()
    ]
    return np.arange(len(PARTS))[:, None, None] == np.argmin(distances, axis=0)


def shares_of_parts(maps: np.ndarray) -> dict[str, float]:
    """Say how much of the weight of maps `(frames, h, w)` each part of the face carries.

    Returns:
        Percentages that sum to 100, the largest first; nothing where the maps are empty.
    """
    if maps.size == 0 or maps.max() <= 0:
        return {}
    fine = resized(maps.sum(axis=0), FINE_SIDE, FINE_SIDE).astype(np.float64)
    shares = (part_masks(FINE_SIDE) * fine).sum(axis=(1, 2))
    shares = 100 * shares / shares.sum()
    return dict(sorted(zip(PARTS, shares.tolist(), strict=True), key=lambda item: -item[1]))


def even_shares() -> dict[str, float]:
    """Percentages that each part would have of an even map, which are those of its area."""
    return dict(zip(PARTS, (100 * part_masks(FINE_SIDE).mean(axis=(1, 2))).tolist(), strict=True))


def strength_of_movements(
    frame_movements: np.ndarray, names: Sequence[str], frame_weights: np.ndarray
) -> dict[str, float]:
    """Name the movements of a face, and how strong each is in the frames that count.

    Args:
        frame_movements: How far each blendshape went, `(frames, names)` from 0 to 1.
        names: Of the blendshapes.
        frame_weights: How much each frame counts, `(frames,)`; negative ones do not.

    Returns:
        Movement to strength from 0 to 1, the strongest first; those whose blendshapes are not all among the names are
        left out.
    """
    weights = frame_weights.clip(min=0)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))
    strength = dict(zip(names, (weights @ frame_movements).tolist(), strict=True))
    found = {
        movement: float(np.mean([strength[shape] for shape in shapes]))
        for movement, shapes in MOVEMENTS.items()
        if all(shape in strength for shape in shapes)
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))
