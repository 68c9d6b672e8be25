"""Random views of faces, on batches: how they are framed, lit, covered and degraded.

The geometry starts from the same alignment as inference (`dfer_hf.faces.alignment`) and jitters it.
"""

import math

import numpy as np
import torch
from torch.nn import functional

from dfer_hf.faces.alignment import CROP_SIZE, similarity_transform

FILLS = ("zeros", "border", "reflection")
"""What `warp` may put beyond an image; the first is what inference does."""


def alignment_matrices(points: np.ndarray) -> torch.Tensor:
    """Transforms from the 112×112 crop to pixels of the image, `(count, 2, 3)`, of five points `(count, 5, 2)`."""
    forward = np.zeros((len(points), 3, 3))
    forward[:, :2] = similarity_transform(points)
    forward[:, 2, 2] = 1
    return torch.from_numpy(np.linalg.inv(forward)[:, :2]).float()


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers from `low` to `high`."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def random_framing(
    count: int, generator: torch.Generator, *, strength: float | torch.Tensor = 1.0, mirrored: bool = True
) -> torch.Tensor:
    """Draw small changes of framing: turn, zoom, shift, stretch and mirror of the crop.

    Args:
        count: How many to draw.
        generator: Source of randomness.
        strength: 1 for stills in training; less for the small motions within a clip; or one for each, `(count,)`.
        mirrored: Whether every second crop is mirrored.

    Returns:
        Transforms in pixels of the 112×112 crop, `(count, 3, 3)`.
    """
    strength = torch.as_tensor(strength)
    angle = torch.randn(count, generator=generator) * math.radians(9) * strength
    zoom = torch.exp(uniform((count,), -0.2, 0.2, generator) * strength)
    stretch = torch.exp(torch.randn(count, generator=generator) * 0.05 * strength)
    shift = torch.randn((count, 2), generator=generator) * 4 * strength[..., None]
    mirror = torch.where(torch.rand(count, generator=generator) < (0.5 if mirrored else 0.0), -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    linear = torch.stack([cos * stretch * mirror, -sin / stretch, sin * stretch * mirror, cos / stretch], dim=-1)
    linear = linear.view(count, 2, 2)
    centre = torch.full((2,), (CROP_SIZE - 1) / 2)
    framing = torch.eye(3).repeat(count, 1, 1)
    framing[:, :2, :2] = linear
    framing[:, :2, 2] = centre + shift - linear @ centre
    return framing


def warp(images: torch.Tensor, crop_to_image: torch.Tensor, size: int, *, fill: str = "zeros") -> torch.Tensor:
    """Sample square crops from small images.

    Args:
        images: Grey images in [0, 1], `(count, 1, height, width)`.
        crop_to_image: Transforms from pixels of the 112×112 crop to pixels of the image, `(count, 2, 3)`.
        size: Side of the result in pixels; it shows the same 112×112 window.
        fill: What lies beyond the image: `zeros` as in inference, `border` or `reflection`.

    Returns:
        Crops in [0, 1], `(count, 1, size, size)`.
    """
    height, width = images.shape[-2:]
    pixels = (torch.arange(size) + 0.5) * (CROP_SIZE / size) - 0.5
    y, x = torch.meshgrid(pixels, pixels, indexing="ij")
    window = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(-1, 3)  # (size², 3)
    places = window @ crop_to_image.transpose(1, 2)  # (count, size², 2) in pixels of the image
    places = (places + 0.5) * 2 / torch.tensor([width, height]) - 1
    places = places.view(-1, size, size, 2)
    return functional.grid_sample(images, places, mode="bilinear", padding_mode=fill, align_corners=False)


def random_fills(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw what lies beyond each image, as indices of `FILLS`."""
    return torch.multinomial(torch.tensor([0.4, 0.3, 0.3]), count, replacement=True, generator=generator)


def warp_filled(images: torch.Tensor, crop_to_image: torch.Tensor, size: int, fills: torch.Tensor) -> torch.Tensor:
    """Sample square crops as `warp` does, each with a fill of its own, `(count,)` indices of `FILLS`."""
    views = torch.empty(len(images), images.shape[1], size, size)
    for code, fill in enumerate(FILLS):
        chosen = fills == code
        if chosen.any():
            views[chosen] = warp(images[chosen], crop_to_image[chosen], size, fill=fill)
    return views


def random_light(images: torch.Tensor, generator: torch.Generator, *, strength: float = 1.0) -> torch.Tensor:
    """Change exposure, contrast and gamma, and light the face from a side; images in [0, 1], `(count, 1, s, s)`."""
    count, _, height, width = images.shape
    shape = (count, 1, 1, 1)
    gamma = torch.exp(torch.randn(shape, generator=generator) * 0.3 * strength)
    contrast = torch.exp(torch.randn(shape, generator=generator) * 0.25 * strength)
    brightness = torch.randn(shape, generator=generator) * 0.1 * strength
    ramp_x = torch.linspace(-1, 1, width) * torch.randn(shape, generator=generator)
    ramp_y = torch.linspace(-1, 1, height)[:, None] * torch.randn(shape, generator=generator)
    images = images.clamp(1e-4, 1) ** gamma
    mean = images.mean(dim=(2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + brightness + 0.12 * strength * (ramp_x + ramp_y)).clamp(0, 1)


def random_sharpness(images: torch.Tensor, generator: torch.Generator, *, strength: float = 1.0) -> torch.Tensor:
    """Blur some images, sharpen others and add grain: web stills are soft, cameras are not."""
    count = len(images)
    blurred = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    # Below 0 sharpens, above 0 blurs.
    amount = uniform((count, 1, 1, 1), -2.0, 1.0, generator) * strength
    grain = (
        torch.randn(images.shape, generator=generator)
        * uniform((count, 1, 1, 1), -0.05, 0.05, generator).clamp_min(0)
        * strength
    )
    return (images + amount * (blurred - images) + grain).clamp(0, 1)


def random_cover(images: torch.Tensor, generator: torch.Generator, *, chance: float = 0.3) -> torch.Tensor:
    """Cover a rectangle of some images with an even tone or with grain."""
    count, _, height, width = images.shape
    covered = torch.rand(count, generator=generator) < chance
    sides = uniform((count, 2), 0.15, 0.45, generator)
    corner = torch.rand((count, 2), generator=generator) * (1 - sides)
    y = torch.linspace(0, 1, height)[None, :, None]
    x = torch.linspace(0, 1, width)[None, None, :]
    top, left = corner[:, 0, None, None], corner[:, 1, None, None]
    inside = (y >= top) & (y < top + sides[:, 0, None, None]) & (x >= left) & (x < left + sides[:, 1, None, None])
    inside = (inside & covered[:, None, None])[:, None]
    tone = torch.rand((count, 1, 1, 1), generator=generator)
    grain = torch.randn(images.shape, generator=generator) * uniform((count, 1, 1, 1), 0, 0.2, generator)
    return torch.where(inside, (tone + grain).clamp(0, 1), images)


def cover_most(clips: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Cover the middle of the face, eyes to mouth, with one patch for each clip, `(count, frames, 1, s, s)`."""
    count, _, _, height, width = clips.shape
    edges = uniform((count, 4, 1, 1), 0.0, 0.2, generator)
    y = torch.linspace(0, 1, height)[None, :, None]
    x = torch.linspace(0, 1, width)[None, None, :]
    inside = (x > edges[:, 0]) & (x < 1 - edges[:, 1]) & (y > edges[:, 2]) & (y < 1 - edges[:, 3] / 2)
    tone = torch.rand((count, 1, 1, 1, 1), generator=generator)
    grain = torch.randn(clips.shape, generator=generator) * uniform((count, 1, 1, 1, 1), 0, 0.2, generator)
    return torch.where(inside[:, None, None], (tone + grain).clamp(0, 1), clips)


def random_surround(images: torch.Tensor, generator: torch.Generator, *, chance: float = 0.2) -> torch.Tensor:
    """Replace what lies outside an ellipse around some faces by an even tone: tight crops carry no surround."""
    count, _, height, width = images.shape
    y = torch.linspace(-1, 1, height)[None, :, None]
    x = torch.linspace(-1, 1, width)[None, None, :]
    radius = uniform((count, 2, 1, 1), 0.85, 1.2, generator)
    outside = (x / radius[:, 0]) ** 2 + (y / radius[:, 1]) ** 2 > 1
    chosen = torch.rand((count, 1, 1), generator=generator) < chance
    tone = torch.rand((count, 1, 1, 1), generator=generator)
    return torch.where((outside & chosen)[:, None], tone, images)
