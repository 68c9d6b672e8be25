"""Augment clips with random changes, drawn once for a clip and made on all its frames alike.

Clips are uint8 arrays `(num_frames, height, width, 3)` from the cache to the batch, as the papers change the colours
of 8-bit pictures too. OpenCV changes the colours of a whole clip as one tall picture.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional

from training.config import Augmentation

CROP_TRIES = 10
LUMA = (0.2989, 0.587, 0.114)
"""Weights of the channels in torchvision's grey."""

NOISE_MEAN, NOISE_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Mean and deviation of the noise in an erased rectangle: `fill_color` and `fill_std` of youqingxiaozhua/ABAW3 at
51ab58a, configs/_base_/datasets/ABAW3.py."""

ERASING_ASPECT = (3 / 10, 10 / 3)
"""Least and greatest height over width of an erased rectangle: `aspect_range` of the same code."""

LEVELS = np.arange(256, dtype=np.float32)


def draw(low: float, high: float, generator: torch.Generator) -> float:
    """Draw one uniform number."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def happens(chance: float, generator: torch.Generator) -> bool:
    """Draw whether something of a given chance happens."""
    return torch.rand((), generator=generator).item() < chance


def draw_crop(
    height: int, width: int, settings: Augmentation, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Draw a crop of random area and shape: top, left, height and width; the whole picture where none fits."""
    for _ in range(CROP_TRIES):
        area = draw(*settings.crop_area, generator) * height * width
        narrowest, widest = settings.crop_aspect
        aspect = math.exp(draw(math.log(narrowest), math.log(widest), generator))
        crop_height, crop_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            top = int(draw(0, height - crop_height + 1, generator))
            left = int(draw(0, width - crop_width + 1, generator))
            return top, left, crop_height, crop_width
    return 0, 0, height, width


def jitter_colours(clip: np.ndarray, settings: Augmentation, generator: torch.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, in this order, each rounded to 8 bits as Pillow does it."""
    if settings.brightness:
        factor = draw(max(0.0, 1 - settings.brightness), 1 + settings.brightness, generator)
        clip = _of_tall(clip, lambda tall: cv2.LUT(tall, _to_levels(LEVELS * factor)))
    if settings.contrast:
        factor = draw(max(0.0, 1 - settings.contrast), 1 + settings.contrast, generator)
        clip = change_contrast(clip, factor)
    if settings.saturation:
        factor = draw(max(0.0, 1 - settings.saturation), 1 + settings.saturation, generator)
        clip = change_saturation(clip, factor)
    if settings.hue:
        clip = turn_hue(clip, draw(-settings.hue, settings.hue, generator))
    return clip


def change_contrast(clip: np.ndarray, factor: float) -> np.ndarray:
    """Move every frame away from the mean of its grey, or towards it where the factor is below 1."""
    changed = np.empty_like(clip)
    for frame, out in zip(clip, changed, strict=True):
        mean = np.dot(cv2.mean(frame)[:3], LUMA)
        cv2.LUT(frame, _to_levels(factor * LEVELS + (1 - factor) * mean), dst=out)
    return changed


def change_saturation(clip: np.ndarray, factor: float) -> np.ndarray:
    """Move every pixel away from its grey, or towards it where the factor is below 1; 0 leaves the grey."""
    matrix = factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))
    return _of_tall(clip, lambda tall: cv2.transform(tall, matrix))


def turn_hue(clip: np.ndarray, share: float) -> np.ndarray:
    """Shift the hue by a share of the hue circle."""

    def turn(tall: np.ndarray) -> np.ndarray:
        # In place, as allocating memory for each step would cost as much as the steps.
        values = tall.astype(np.float32)
        cv2.cvtColor(values, cv2.COLOR_RGB2HSV, dst=values)
        # OpenCV takes hues above 360 degrees, but none below 0.
        values[..., 0] += 360 * (share % 1)
        cv2.cvtColor(values, cv2.COLOR_HSV2RGB, dst=values)
        return cv2.convertScaleAbs(values)

    return _of_tall(clip, turn)


def erase_rectangle(clip: np.ndarray, settings: Augmentation, generator: torch.Generator) -> np.ndarray:
    """Cover the same rectangle of all frames with noise (Zhong et al. 2020).

    Rectangle and noise are drawn as in CFC-SP's code: `RandomErasing` of youqingxiaozhua/ABAW3 at 51ab58a,
    mmcls/datasets/pipelines/transforms.py, in mode `rand` with a `fill_std`.
    """
    height, width = clip.shape[1:3]
    area = draw(*settings.erasing_area, generator) * height * width
    aspect = math.exp(draw(math.log(ERASING_ASPECT[0]), math.log(ERASING_ASPECT[1]), generator))
    rows, columns = min(round(math.sqrt(area * aspect)), height), min(round(math.sqrt(area / aspect)), width)
    # The code's `randint` leaves out the last place.
    top, left = int(draw(0, height - rows, generator)), int(draw(0, width - columns, generator))
    noise = torch.randn((rows, columns, 3), generator=generator).numpy() * NOISE_STD + NOISE_MEAN
    erased = clip.copy()
    erased[:, top : top + rows, left : left + columns] = noise.clip(0, 255).astype(np.uint8)
    return erased


def augment_clip(clip: np.ndarray, size: int, settings: Augmentation, generator: torch.Generator) -> np.ndarray:
    """Augment a clip.

    Args:
        clip: Frames, uint8 of shape `(num_frames, height, width, 3)`.
        size: Side of the result in pixels.
        settings: The recipe's augmentation.
        generator: Source of randomness.

    Returns:
        Frames, uint8 of shape `(num_frames, size, size, 3)`.
    """
    height, width = clip.shape[1:3]
    if settings.rotation and happens(settings.rotation_chance, generator):
        angle = draw(-settings.rotation, settings.rotation, generator)
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        clip = np.stack([cv2.warpAffine(frame, turn, (width, height)) for frame in clip])
    crop = draw_crop(height, width, settings, generator)
    frames = functional.resized_crop(torch.from_numpy(clip).permute(0, 3, 1, 2), *crop, size=[size, size])
    clip = frames.permute(0, 2, 3, 1).contiguous().numpy()
    if happens(settings.flip_chance, generator):
        clip = _of_tall(clip, lambda tall: cv2.flip(tall, 1))
    # Grey comes first, as in CFC-SP's code: what follows changes its light and leaves it grey.
    if happens(settings.grey_chance, generator):
        clip = change_saturation(clip, 0.0)
    if happens(settings.jitter_chance, generator):
        clip = jitter_colours(clip, settings, generator)
    if happens(settings.blur_chance, generator):
        sigma = draw(0.1, 2.0, generator)
        side = 2 * math.ceil(2 * sigma) + 1
        clip = np.stack([cv2.GaussianBlur(frame, (side, side), sigma) for frame in clip])
    if happens(settings.erasing_chance, generator):
        clip = erase_rectangle(clip, settings, generator)
    return clip


def _of_tall(clip: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Change the frames of a clip as one picture, one below the other."""
    return change(clip.reshape(-1, *clip.shape[2:])).reshape(clip.shape)


def _to_levels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
