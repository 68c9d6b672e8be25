"""RepVGG (Ding et al., CVPR 2021): three branches while it learns, one plain convolution once it is deployed."""

from collections.abc import Sequence

import torch
from torch import nn


class RepVggBlock(nn.Module):
    """A 3×3 convolution, a 1×1 convolution and, where the shape stays, the input; each normalised, then summed."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, fused: bool) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        self.branches: nn.ModuleList | None = None
        self.convolution: nn.Conv2d | None = None
        if fused:
            self.convolution = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
            return
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False),
                nn.BatchNorm2d(out_channels),
            )
            for size in (3, 1)
        )
        if in_channels == out_channels and stride == 1:
            self.branches.append(nn.Sequential(nn.Identity(), nn.BatchNorm2d(out_channels)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Transform maps `(n, in_channels, h, w)` to `(n, out_channels, h / stride, w / stride)`."""
        if self.branches is None:
            return self.convolution(features).relu()  # pyright: ignore[reportOptionalCall]  one of both is there
        return torch.stack([branch(features) for branch in self.branches]).sum(dim=0).relu()

    @torch.no_grad()
    def fuse(self) -> None:
        """Put one convolution in the place of the branches: the same answers as in evaluation, up to rounding."""
        if self.branches is None:
            return
        kernels, biases = [], []
        for convolution, norm in self.branches:  # pyright: ignore[reportGeneralTypeIssues]  a branch is a pair
            if isinstance(convolution, nn.Conv2d):
                kernel = convolution.weight.double()
            else:
                kernel = torch.eye(self.in_channels, device=norm.weight.device).double()[:, :, None, None]
            rim = (3 - kernel.shape[-1]) // 2
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            kernels.append(scale[:, None, None, None] * nn.functional.pad(kernel, [rim] * 4))
            biases.append(norm.bias.double() - scale * norm.running_mean.double())
        weight = self.branches[0][0].weight  # pyright: ignore[reportIndexIssue]
        fused = nn.Conv2d(self.in_channels, self.out_channels, 3, self.stride, padding=1).to(weight)
        fused.weight.copy_(torch.stack(kernels).sum(dim=0))
        fused.bias.copy_(torch.stack(biases).sum(dim=0))  # pyright: ignore[reportOptionalMemberAccess]
        self.convolution, self.branches = fused.train(self.training), None


class RepVgg(nn.Sequential):
    """The convolutions of a RepVGG: images `(n, channels, 16 h, 16 w)` to maps `(n, hidden_sizes[-1], h, w)`.

    For faces of 112×112 pixels the stem keeps the size, as in FaceX-Zoo, instead of halving it as for ImageNet. The
    first block of every stage halves it. RepVGG-B1 has depths 4, 6, 16 and 1.

    Args:
        num_channels: Channels of an image.
        hidden_sizes: Channels of the stages; the stem has those of the first, but at most 64.
        depths: Blocks of the stages.
        fused: Whether each block is one convolution from the start.
    """

    def __init__(self, num_channels: int, hidden_sizes: Sequence[int], depths: Sequence[int], *, fused: bool) -> None:
        width = min(64, hidden_sizes[0])
        layers: list[nn.Module] = [RepVggBlock(num_channels, width, 1, fused=fused)]
        for hidden_size, depth in zip(hidden_sizes, depths, strict=True):
            blocks = [
                RepVggBlock(width if place == 0 else hidden_size, hidden_size, 2 if place == 0 else 1, fused=fused)
                for place in range(depth)
            ]
            layers.append(nn.Sequential(*blocks))
            width = hidden_size
        super().__init__(*layers)
