"""IResNet, the residual network of ArcFace (Deng et al., CVPR 2019), made for aligned faces of 112×112 pixels."""

from collections.abc import Sequence

import torch
from torch import nn


class IResNetUnit(nn.Module):
    """Normalise, convolve, rectify, convolve and normalise beside a shortcut; the second convolution strides."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        # Every `stride`-th value; all of them at stride 1.
        self.shortcut: nn.Module = nn.MaxPool2d(1, stride)
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Transform maps `(n, in_channels, h, w)` to `(n, out_channels, h / stride, w / stride)`."""
        return self.residual(features) + self.shortcut(features)


class IResNet(nn.Sequential):
    """The convolutions of an IResNet: images `(n, channels, 16 h, 16 w)` to maps `(n, hidden_sizes[-1], h, w)`.

    The stem keeps the size; the first unit of every stage halves it. IResNet-152 has depths 3, 8, 36 and 3.

    Args:
        num_channels: Channels of an image.
        hidden_sizes: Channels of the stages; the first is also the stem's.
        depths: Units of the stages.
    """

    def __init__(self, num_channels: int, hidden_sizes: Sequence[int], depths: Sequence[int]) -> None:
        width = hidden_sizes[0]
        layers: list[nn.Module] = [
            nn.Conv2d(num_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
        ]
        for hidden_size, depth in zip(hidden_sizes, depths, strict=True):
            units = [
                IResNetUnit(width if place == 0 else hidden_size, hidden_size, 2 if place == 0 else 1)
                for place in range(depth)
            ]
            layers.append(nn.Sequential(*units))
            width = hidden_size
        super().__init__(*layers)
