"""Finds 68 landmarks in an aligned face crop; small enough to travel inside a system that needs them."""

import torch
from torch import nn

NUM_LANDMARKS = 68
"""iBUG/Multi-PIE order: jaw 0 to 16, brows 17 to 26, nose 27 to 35, eyes 36 to 47, mouth 48 to 67."""


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution_1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(out_channels)
        self.convolution_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Transform features `(n, in_channels, h, w)` to `(n, out_channels, h / stride, w / stride)`."""
        hidden = self.norm_1(self.convolution_1(features)).relu()
        return (self.norm_2(self.convolution_2(hidden)) + self.shortcut(features)).relu()


class LandmarkHead(nn.Module):
    """A small feature pyramid in whose finest map every cell votes for where each landmark is.

    A cell gives each landmark a weight and an offset from its own centre; the landmark is the weighted mean of the
    places voted for. With offsets of zero this is integral regression over heat maps (Sun et al. 2018), which reaches
    no farther than the crop: the chin of an aligned crop lies on or below its lower edge.

    The owning model sets the weights; they come from `training/landmarks/train_landmarks.py`.

    Args:
        num_channels: Channels of a frame.
        width: Channels of the finest of the three maps; the coarser ones have two and four times as many.
    """

    def __init__(self, num_channels: int = 3, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(num_channels, width, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.stage_1 = ResidualBlock(width, width, stride=2)
        self.stage_2 = nn.Sequential(ResidualBlock(width, 2 * width, stride=2), ResidualBlock(2 * width, 2 * width))
        self.stage_3 = nn.Sequential(
            ResidualBlock(2 * width, 4 * width, stride=2), ResidualBlock(4 * width, 4 * width)
        )
        self.lateral_3 = nn.Conv2d(4 * width, 2 * width, 1)
        self.merge_2 = ResidualBlock(2 * width, 2 * width)
        self.lateral_1 = nn.Conv2d(width, 2 * width, 1)
        self.merge_1 = ResidualBlock(2 * width, 2 * width)
        self.votes = nn.Conv2d(2 * width, 3 * NUM_LANDMARKS, 1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Find the landmarks of frames of any size, normalised as the processor does.

        Args:
            frames: Aligned crops, `(n, channels, s, s)`.

        Returns:
            Where the landmarks are, `(n, 68, 2)` as fractions of the side: x from 0 at the left edge to 1 at the
            right, y from the upper edge down; below 0 or above 1 where a landmark lies outside the crop.
        """
        stem = self.stem_norm(self.stem(frames)).relu()  # (n, width, s / 2, s / 2)
        fine = self.stage_1(stem)  # (n, width, s / 4, s / 4)
        middle = self.stage_2(fine)  # (n, 2 width, s / 8, s / 8)
        coarse = self.stage_3(middle)  # (n, 4 width, s / 16, s / 16)
        middle = self.merge_2(middle + self.enlarge(self.lateral_3(coarse), middle))
        fine = self.merge_1(self.lateral_1(fine) + self.enlarge(middle, fine))
        votes = self.votes(fine).float().flatten(2).unflatten(1, (3, NUM_LANDMARKS))  # (n, 3, 68, cells)

        height, width = fine.shape[-2:]
        y = (torch.arange(height, device=votes.device) + 0.5) / height
        x = (torch.arange(width, device=votes.device) + 0.5) / width
        centres = torch.stack([x.repeat(height), y.repeat_interleave(width)])[:, None]  # (2, 1, cells)
        places = centres + votes[:, 1:] / width  # (n, 2, 68, cells); offsets count in cells
        weights = votes[:, :1].softmax(dim=-1)  # (n, 1, 68, cells)
        return (weights * places).sum(dim=-1).transpose(1, 2)  # (n, 68, 2)

    @staticmethod
    def enlarge(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Repeat the cells of a coarse map until it is as large as a finer one."""
        return nn.functional.interpolate(features, size=like.shape[-2:], mode="nearest")
