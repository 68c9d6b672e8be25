"""Turn the ResNet of a frame recogniser into the first weights of a 3D ResNet (Carreira and Zisserman 2017, I3D).

The middle slice in time of a kernel is the kernel of the frames and the others are zero, so a clip in which nothing
moves is seen as its frames are. The stem of R3D-18 halves once where that of a ResNet halves twice; it gets the kernel
that does the same on a picture of half the side, without the pooling.
"""

import re
from collections.abc import Mapping

import torch
from torch.nn import functional

from training.engine.optim import TRUNK

STEM = f"{TRUNK}embedder.embedder."


def inflate_backbone(
    tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the weights of a ResNet backbone of frames under the names and in the shapes of our R3D trunk.

    Args:
        tensors: Of the backbone.
        wanted: Of the model that has the R3D trunk.
    """
    inflated = {}
    for name, tensor in tensors.items():
        place = r3d_name(name)
        kernel = wanted.get(place)
        if kernel is not None and kernel.ndim == 5:
            if name.startswith(STEM):
                tensor = half_scale_kernel(tensor)
            tensor = functional.pad(tensor[:, :, None], (0, 0, 0, 0, kernel.shape[2] // 2, kernel.shape[2] // 2))
        inflated[place] = tensor
    return inflated


def r3d_name(name: str) -> str:
    """Return the name in our R3D trunk of a tensor of transformers' ResNet backbone.

    >>> r3d_name("trunk.encoder.stages.1.layers.0.shortcut.normalization.bias")
    'trunk.layer2.0.downsample.1.bias'
    >>> r3d_name("trunk.encoder.stages.0.layers.1.layer.1.convolution.weight")
    'trunk.layer1.1.conv2.0.weight'
    """
    kinds = {"convolution": "0", "normalization": "1"}
    if name.startswith(STEM):
        kind, rest = name.removeprefix(STEM).split(".", 1)
        return f"{TRUNK}stem.{kinds[kind]}.{rest}"
    parts = re.fullmatch(
        rf"{re.escape(TRUNK)}encoder\.stages\.(\d)\.layers\.(\d+)\.(shortcut|layer\.(\d))\.(\w+)\.(\w+)", name
    )
    if parts is None:
        return name
    stage, block, branch, conv, kind, rest = parts.groups()
    place = "downsample" if branch == "shortcut" else f"conv{int(conv) + 1}"
    return f"{TRUNK}layer{int(stage) + 1}.{block}.{place}.{kinds[kind]}.{rest}"


def half_scale_kernel(kernel: torch.Tensor) -> torch.Tensor:
    """Return the kernel that answers a picture as another answers the picture enlarged twice, about its middle.

    Args:
        kernel: Of an odd side, `(out, in, side, side)`.
    """
    side = kernel.shape[-1]
    # Rows: what each pixel of the small picture gives to the enlarged one, by which the kernel is then weighted.
    small = torch.eye(side)[:, None]
    enlarged = functional.interpolate(small, scale_factor=2, mode="linear", align_corners=False)[:, 0]
    middle = side - 1
    spread = enlarged[:, middle - side // 2 : middle + side // 2 + 1]  # (side, side)
    return torch.einsum("oiyx,ay,bx->oiab", kernel, spread, spread)
