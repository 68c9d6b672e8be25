"""Random views of real faces of several kinds, as the whole way from a file would bring them to the model.

A view is found a little off, seen small, lit, covered and compressed at random. The models see grey, so colours are
mixed to grey, in another way each time.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from training.data import transforms
from training.data.clip_damage import compress
from training.data.samplers import balanced_weights
from training.data.still_dataset import to_pixel_values
from training.datasets.face_bank import FaceBank

LUMA = torch.tensor([0.299, 0.587, 0.114])
SMALLEST, LARGEST = 20, 112
"""Sides in pixels that a face's crop is shrunk to where it is seen small."""


class FaceStills:
    """Batches of stills from several banks, with votes and blendshapes as targets.

    Args:
        banks: Faces.
        shares: How often a face of each bank is drawn, relative to the others.
        balance: Exponent of the sampling weight: a class with share `p` of its bank is drawn in proportion to
            `p^(1 - balance)`.
    """

    def __init__(self, banks: Sequence[FaceBank], *, shares: Sequence[float], balance: float) -> None:
        self.banks = banks
        self.starts = np.cumsum([0, *map(len, banks)])
        self.labels = torch.from_numpy(np.concatenate([bank.labels for bank in banks]))
        self.votes = torch.from_numpy(np.concatenate([bank.votes for bank in banks])).float()
        self.blendshapes = torch.from_numpy(np.concatenate([bank.blendshapes for bank in banks])).float()
        self.crop_to_image = torch.from_numpy(np.concatenate([bank.crop_to_image for bank in banks])).float()
        # Where a bank's faces lie on average: a face that is cut by a fixed frame, not by its own eyes.
        self.fixed_frame = torch.cat(
            [torch.from_numpy(bank.crop_to_image).float().mean(0).expand(len(bank), 2, 3) for bank in banks]
        )
        weights = []
        for bank, share in zip(banks, shares, strict=True):
            drawn = balanced_weights(torch.from_numpy(bank.labels), balance)
            weights.append(share * drawn / drawn.sum())
        self.sampling_weights = torch.cat(weights)

    def __len__(self) -> int:
        return len(self.labels)

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Random views of the faces at `indices`: `pixel_values_videos` (count, 1, 3, size, size) and both targets."""
        count = len(indices)
        far_off = torch.rand(count, generator=generator) < 0.15
        framing = transforms.random_framing(count, generator, strength=torch.where(far_off, 2.2, 1.0) * strength)
        fixed = torch.rand(count, generator=generator) < 0.15
        placed = torch.where(fixed[:, None, None], self.fixed_frame[indices], self.crop_to_image[indices])
        views = self.cut(indices, placed @ framing, size, generator, mixed=True)
        views = transforms.random_light(views, generator, strength=0.8 * strength)
        views = transforms.random_surround(views, generator, chance=0.2 * strength)
        views = seen_small(views, generator, chance=0.35)
        views = transforms.random_sharpness(views, generator, strength=strength)
        views = transforms.random_cover(views, generator, chance=0.3 * strength)
        views = compressed(views, generator, chance=0.35)
        return {
            "pixel_values_videos": to_pixel_values(views)[:, None],
            "labels": self.votes[indices],
            "blendshapes": self.blendshapes[indices],
        }

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """The faces at `indices` as inference sees them, with their majority label."""
        views = self.cut(indices, self.crop_to_image[indices], size, torch.Generator(), mixed=False)
        return {"pixel_values_videos": to_pixel_values(views)[:, None], "labels": self.labels[indices]}

    def cut(
        self, indices: torch.Tensor, crop_to_image: torch.Tensor, size: int, generator: torch.Generator, *, mixed: bool
    ) -> torch.Tensor:
        """Cut grey crops in [0, 1] out of faces of any bank, `(count, 1, size, size)`; `mixed` draws how and on what.

        Args:
            indices: Which faces.
            crop_to_image: From the 112×112 crop to pixels of each image, `(count, 2, 3)`.
            size: Side of the crops in pixels.
            generator: Source of randomness.
            mixed: Whether colours are mixed and the surroundings filled at random, or as in inference.
        """
        views = torch.empty(len(indices), 1, size, size)
        owners = np.searchsorted(self.starts, indices.numpy(), side="right") - 1
        fills = torch.zeros(len(indices), dtype=torch.long)
        if mixed:
            fills = transforms.random_fills(len(indices), generator)
        for owner, bank in enumerate(self.banks):
            inside = torch.from_numpy(owners == owner)
            if not inside.any():
                continue
            rows = indices[inside].numpy() - self.starts[owner]
            images = torch.from_numpy(bank.images[rows]).float() / 255
            if images.shape[1] == 3:
                luma = LUMA.expand(len(images), 3)
                if mixed:
                    luma = luma * torch.exp(torch.randn(luma.shape, generator=generator) * 0.5)
                    luma = luma / luma.sum(dim=1, keepdim=True)
                images = (images * luma[:, :, None, None]).sum(dim=1, keepdim=True)
            views[inside] = transforms.warp_filled(images, crop_to_image[inside], size, fills[inside])
        return views


def seen_small(views: torch.Tensor, generator: torch.Generator, *, chance: float) -> torch.Tensor:
    """Shrink some faces to 20 to 112 pixels and enlarge them again; one size for each quarter of the batch."""
    size = views.shape[-1]
    chosen = torch.rand(len(views), generator=generator) < chance
    views = views.clone()
    for part in chosen.nonzero()[:, 0].tensor_split(4):
        side = SMALLEST * (LARGEST / SMALLEST) ** float(torch.rand((), generator=generator))
        side = max(8, min(size, round(side * size / LARGEST)))
        if len(part) and side < size:
            small = functional.interpolate(views[part], size=side, mode="bilinear", antialias=True)
            views[part] = functional.interpolate(small, size=size, mode="bilinear")
    return views


def compressed(views: torch.Tensor, generator: torch.Generator, *, chance: float) -> torch.Tensor:
    """Encode some views as JPEG of a quality from 15 to 80, and decode them again."""
    chosen = (torch.rand(len(views), generator=generator) < chance).nonzero()[:, 0]
    qualities = torch.randint(15, 81, (len(chosen),), generator=generator).tolist()
    views = views.clone()
    for index, quality in zip(chosen.tolist(), qualities, strict=True):
        pixels = (views[index, 0] * 255).round().to(torch.uint8).numpy()
        views[index, 0] = torch.from_numpy(compress(pixels[..., None], quality)[..., 0]).float() / 255
    return views
