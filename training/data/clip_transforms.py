"""Random changes of clips, drawn once for a clip and made on all its frames alike."""

import math

import torch
from torchvision.transforms.v2 import functional

from training.config import Augmentation

CROP_TRIES = 10


def draw(low: float, high: float, generator: torch.Generator) -> float:
    """One uniform number."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def happens(chance: float, generator: torch.Generator) -> bool:
    """Whether something of a given chance happens."""
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


def jitter_colours(clip: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue, in this order."""
    for change, extent in (
        (functional.adjust_brightness, settings.brightness),
        (functional.adjust_contrast, settings.contrast),
        (functional.adjust_saturation, settings.saturation),
    ):
        if extent:
            clip = change(clip, draw(max(0.0, 1 - extent), 1 + extent, generator))
    if settings.hue:
        clip = functional.adjust_hue(clip, draw(-settings.hue, settings.hue, generator))
    return clip


def erase_rectangle(clip: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Cover the same rectangle of all frames with noise (Zhong et al. 2020)."""
    height, width = clip.shape[-2:]
    covered = Augmentation(crop_area=settings.erasing_area, crop_aspect=(0.3, 1 / 0.3))
    top, left, rows, columns = draw_crop(height, width, covered, generator)
    noise = torch.rand((clip.shape[-3], rows, columns), generator=generator)
    return functional.erase(clip, top, left, rows, columns, noise)


def augment_clip(clip: torch.Tensor, size: int, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Change a clip at random.

    Args:
        clip: Frames in [0, 1], `(num_frames, 3, height, width)`.
        size: Side of the result in pixels.
        settings: What may happen.
        generator: Source of randomness.

    Returns:
        Frames in [0, 1], `(num_frames, 3, size, size)`.
    """
    if settings.rotation and happens(settings.rotation_chance, generator):
        angle = draw(-settings.rotation, settings.rotation, generator)
        clip = functional.rotate(clip, angle, interpolation=functional.InterpolationMode.BILINEAR)
    top, left, height, width = draw_crop(clip.shape[-2], clip.shape[-1], settings, generator)
    clip = functional.resized_crop(clip, top, left, height, width, [size, size], antialias=True)
    if happens(settings.flip_chance, generator):
        clip = functional.horizontal_flip(clip)
    if happens(settings.jitter_chance, generator):
        clip = jitter_colours(clip, settings, generator)
    if happens(settings.grey_chance, generator):
        clip = functional.rgb_to_grayscale(clip, num_output_channels=3)
    if happens(settings.blur_chance, generator):
        sigma = draw(0.1, 2.0, generator)
        clip = functional.gaussian_blur(clip, [2 * math.ceil(2 * sigma) + 1] * 2, [sigma] * 2)
    if happens(settings.erasing_chance, generator):
        clip = erase_rectangle(clip, settings, generator)
    return clip.clamp(0, 1)
