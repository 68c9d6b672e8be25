"""Draw random views of aligned faces together with their 68 landmarks."""

import numpy as np
import torch
from torch.nn import functional

from dfer_hf.faces.alignment import CROP_SIZE, five_points_of_68
from training.data import transforms
from training.data.still_dataset import to_pixel_values

MIRRORED = torch.tensor([
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
])  # fmt: skip
"""Index of the landmark that each landmark becomes in the mirror image."""

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


def random_colour(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Make half of the images grey and tint a third; images in [0, 1], `(count, 3, s, s)`.

    Grey faces get tints, too. Otherwise the head could tell renders from photos by colour and treat them differently.
    """
    shape = (len(images), 1, 1, 1)
    grey = (images * LUMA).sum(dim=1, keepdim=True).expand_as(images)
    images = torch.where(torch.rand(shape, generator=generator) < 0.5, grey, images)
    tint = torch.exp(torch.randn((len(images), 3, 1, 1), generator=generator) * 0.15)
    tint = torch.where(torch.rand(shape, generator=generator) < 1 / 3, tint, 1.0)
    return (images * tint).clamp(0, 1)


def random_resolution(images: torch.Tensor, generator: torch.Generator, *, chance: float = 0.5) -> torch.Tensor:
    """Shrink some images to a third or more of their side and enlarge them again, as small faces in videos are."""
    size = images.shape[-1]
    images = images.clone()
    for group in torch.randperm(len(images), generator=generator).chunk(8):
        if torch.rand((), generator=generator) < chance:
            small = int(transforms.uniform((), 0.33, 0.9, generator) * size)
            shrunk = functional.interpolate(images[group], size=small, mode="area")
            images[group] = functional.interpolate(shrunk, size=size, mode="bilinear", align_corners=False)
    return images


class LandmarkViews:
    """Faces with landmarks, seen as inference sees them and at random.

    Args:
        images: uint8, grey `(count, height, width)` or RGB `(count, height, width, 3)`.
        landmarks: In pixels, `(count, 68, 2)`.
    """

    def __init__(self, images: np.ndarray, landmarks: np.ndarray) -> None:
        pixels = torch.from_numpy(images)
        self.images = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        self.landmarks = torch.from_numpy(landmarks).float()
        self.crop_to_image = transforms.alignment_matrices(five_points_of_68(landmarks))

    def __len__(self) -> int:
        return len(self.images)

    def training_batch(
        self, count: int, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw random views of random faces: pixel values `(count, 3, size, size)` and landmarks `(count, 68, 2)`."""
        indices = torch.randint(len(self), (count,), generator=generator)
        framing = transforms.random_framing(count, generator, strength=strength)
        matrices = self.crop_to_image[indices] @ framing
        fill = ("zeros", "border", "reflection")[int(torch.randint(3, (1,), generator=generator))]
        views = transforms.warp(self._read(indices), matrices, size, fill=fill)
        views = random_colour(views, generator)
        views = random_resolution(views, generator)
        views = transforms.random_light(views, generator, strength=0.8 * strength)
        views = transforms.random_surround(views, generator, chance=0.1 * strength)
        views = transforms.random_sharpness(views, generator, strength=strength)
        views = transforms.random_cover(views, generator, chance=0.3 * strength)
        return to_pixel_values(views), self._places(indices, matrices)

    def batch(self, indices: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the faces at `indices` as inference sees them, and their landmarks."""
        matrices = self.crop_to_image[indices]
        views = transforms.warp(self._read(indices), matrices, size)
        return to_pixel_values(views), self._places(indices, matrices)

    def _read(self, indices: torch.Tensor) -> torch.Tensor:
        images = self.images[indices].float() / 255
        return images.expand(-1, 3, -1, -1)

    def _places(self, indices: torch.Tensor, crop_to_image: torch.Tensor) -> torch.Tensor:
        """Return the landmarks as fractions of the crop's side; `crop_to_image` is `(count, 2, 3)` and may mirror."""
        linear, shift = crop_to_image[:, :, :2], crop_to_image[:, :, 2]
        places = (self.landmarks[indices] - shift[:, None]) @ torch.linalg.inv(linear).transpose(1, 2)
        mirrored = torch.linalg.det(linear) < 0
        places = torch.where(mirrored[:, None, None], places[:, MIRRORED], places)
        return (places + 0.5) / CROP_SIZE
