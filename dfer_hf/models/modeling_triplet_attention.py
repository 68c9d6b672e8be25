"""Triplet attention (Misra et al., WACV 2021): three gates over a feature map, one for each pair of its axes."""

import torch
from torch import nn


class PlaneGate(nn.Module):
    """Gate a map by what two of its axes show after the third is pooled away.

    Args:
        pooled_dim: The axis that is pooled: 1 for channels, 2 for height, 3 for width.
    """

    def __init__(self, pooled_dim: int) -> None:
        super().__init__()
        self.pooled_dim = pooled_dim
        self.convolution = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scale `(n, C, h, w)` by one number from 0 to 1 for each place of the plane."""
        # Z-pool: (n, 2, a, b), a and b the two axes that are left.
        pooled = torch.stack([features.amax(self.pooled_dim), features.mean(self.pooled_dim)], dim=1)
        gate = self.norm(self.convolution(pooled)).sigmoid()[:, 0]  # (n, a, b)
        return features * gate.unsqueeze(self.pooled_dim)


class TripletAttention(nn.Module):
    """The mean of a map gated over channels and width, channels and height, and height and width."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.ModuleList(PlaneGate(pooled_dim) for pooled_dim in (2, 3, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Gate `(n, C, h, w)`; the shape stays."""
        return torch.stack([gate(features) for gate in self.gates]).mean(dim=0)
