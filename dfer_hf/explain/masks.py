"""Maps from random masks, slow and independent of any layer: what the other maps are compared with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .resizing import resized
from .targets import Contrast

NUM_MASKS = 256
MAP_SIDE = 28
MASKS_PER_BATCH = 4
# Half axes of a covering ellipse in sides of the crop: from an eye to half a face.
SMALLEST, LARGEST = 0.1, 0.3


@dataclass(frozen=True)
class Steps:
    """How a system answers, in the two steps of those that see their frames apart.

    Args:
        encode: Takes frames `(frames, height, width, channels)`, and returns what the system keeps of each,
            `(frames, ...)`; the frames themselves where it sees them together.
        answer: Takes clips of such, `(clips, frames, ...)`, and returns their logits, `(clips, num_labels)`.
    """

    encode: Callable[[np.ndarray], np.ndarray]
    answer: Callable[[np.ndarray], np.ndarray]


def blurred(pictures: np.ndarray) -> np.ndarray:
    """Blur pictures `(..., side, side)` until no movement of a face can be seen in them.

    Where a part of a frame is covered with it, a face stays a face: squares of one colour would be news to a model.
    """
    side = pictures.shape[-1]
    sigma = side / 10
    reach = min(round(2.5 * sigma), side - 1)
    kernel = np.exp(-((np.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    # Which place each of a line's neighbours is, mirrored at its ends.
    neighbours = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.arange(side), reach, mode="reflect"), 2 * reach + 1
    )
    weights = np.einsum("k,ikj->ij", kernel / kernel.sum(), np.eye(side)[neighbours]).astype(np.float32)
    return weights @ pictures.astype(np.float32) @ weights.T


def random_masks(count: int, num_frames: int, generator: np.random.Generator) -> np.ndarray:
    """Draw soft ellipses the size of parts of a face, each over a run of half the frames.

    Returns:
        How much each place is covered, `(count, num_frames, MAP_SIDE, MAP_SIDE)` from 0 to 1.
    """
    centre, draw = generator.random((2, count, 1, 1)), generator.random((3, count, 1, 1))
    axes = SMALLEST + (LARGEST - SMALLEST) * draw[:2]
    angle = np.pi * draw[2]
    places = (np.arange(MAP_SIDE) + 0.5) / MAP_SIDE
    x, y = places[None, None, :] - centre[0], places[None, :, None] - centre[1]  # (count, 1, side), (count, side, 1)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance = np.hypot(along / axes[0], across / axes[1])  # (count, side, side)
    ellipses = ((1.2 - distance) / 0.4).clip(0, 1).astype(np.float32)
    length = -(-num_frames // 2)
    first = generator.integers(num_frames - length + 1, size=(count, 1))
    frames = np.arange(num_frames)
    in_run = (frames >= first) & (frames < first + length)
    return in_run[:, :, None, None] * ellipses[:, None]


def mask_maps(
    steps: Steps, frames: np.ndarray, contrast: Contrast, *, num_masks: int = NUM_MASKS, seed: int = 0
) -> np.ndarray:
    """Cover random parts with a blurred face, and see what is lost by covering each place (after RISE, Petsiuk 2018).

    Only the frames that a mask covers are encoded again.

    Args:
        steps: How the system answers.
        frames: Of one clip, `(num_frames, height, width, channels)`; of integers they stay integers where covered.
        contrast: What is explained of this clip.
        num_masks: Each costs about half an answer, or a whole one where the system sees its frames together.
        seed: Of the masks.

    Returns:
        Maps `(num_frames, MAP_SIDE, MAP_SIDE)`, never negative.
    """
    whole, shown = steps.encode(frames), frames.astype(np.float32)
    to_blurred = np.moveaxis(blurred(np.moveaxis(shown, -1, 1)), 1, -1) - shown
    before = contrast.log_odds(steps.answer(whole[None]))
    masks = random_masks(num_masks, len(frames), np.random.default_rng(seed))
    losses = []
    for start in range(0, num_masks, MASKS_PER_BATCH):
        part = masks[start : start + MASKS_PER_BATCH]
        is_covered = part.any(axis=(2, 3))  # (masks, num_frames)
        places = np.nonzero(is_covered)[1]
        cover = resized(part[is_covered], *frames.shape[1:3])[..., None]
        covered = shown[places] + cover * to_blurred[places]
        if np.issubdtype(frames.dtype, np.integer):
            covered = np.rint(covered)
        variants = np.repeat(whole[None], len(part), axis=0)
        variants[is_covered] = steps.encode(covered.astype(frames.dtype))
        losses.append(before - contrast.log_odds(steps.answer(variants)[None])[0])
    lost = np.concatenate(losses)
    # Mean loss where a place is covered, above the mean of all masks.
    maps = np.tensordot(lost - lost.mean(), masks, axes=1) / masks.sum(axis=0).clip(min=1e-6)
    return maps.clip(min=0).astype(np.float32)
