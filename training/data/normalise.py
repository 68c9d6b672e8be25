"""How pixels become what a model reads."""

from collections.abc import Sequence

import torch


def normalise(
    images: torch.Tensor, mean: Sequence[float], std: Sequence[float], *, white: float = 1.0
) -> torch.Tensor:
    """Subtract each channel's mean and divide by its deviation, as the processor does.

    Args:
        images: Pixels `(..., channels, height, width)`.
        mean: Of each channel, of pixels between 0 and 1.
        std: See `mean`.
        white: Greatest value of a pixel, such as 255.
    """
    means, stds = (white * torch.tensor(values)[:, None, None] for values in (mean, std))
    return (images - means).div_(stds)
