"""Stop a training that computes wrong gradients or has diverged."""

import math

from accelerate import Accelerator
from torch import nn


def in_3d(model: nn.Module) -> bool:
    """Return whether a model has 3D convolutions."""
    return any(isinstance(module, nn.Conv3d) for module in model.modules())


def check_precision(model: nn.Module, accelerator: Accelerator) -> None:
    """Refuse half precision where PyTorch computes wrong gradients.

    On a CPU, the weight gradient of a 3D convolution over two frames in bfloat16 is sometimes uninitialised memory: 19
    of 40 times for 64 channels of 16×16 with torch 2.15, without an error and not always large enough to notice.

    Raises:
        ValueError: If the model has 3D convolutions and would be trained in half precision on a CPU.
    """
    if in_3d(model) and accelerator.device.type == "cpu" and accelerator.mixed_precision != "no":
        raise ValueError(
            "Expected single precision for a system with 3D convolutions on a CPU, whose gradients in half precision "
            f"PyTorch gets wrong there; got {accelerator.mixed_precision!r}. Use `--mixed_precision no`, or a GPU."
        )


def check_loss(loss: float, epoch: int) -> None:
    """Refuse to save an epoch in which the loss diverged.

    Raises:
        FloatingPointError: If the loss is infinite or not a number.
    """
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"Expected a finite loss, got {loss} in epoch {epoch}. What was saved before it is whole. Lower "
            "`learning_rate`, lengthen the warm-up or set `gradient_clip` in the recipe, and give another --output."
        )
