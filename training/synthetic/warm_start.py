"""Initialise the trunk of a system, 2D or 3D, from a frame recogniser."""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.resnet.modeling_resnet import ResNetBackbone

from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from dfer_hf.models.modeling_r3d import R3dTrunk
from training.engine.pretrained import initialise


def inflated(recogniser: FrameResNetForVideoClassification) -> dict[str, torch.Tensor]:
    """Inflate the weights of a 2D trunk to 3D: they become the middle frame of each kernel; its other frames are 0.

    The names are those of transformers and of torchvision. Arnab et al. 2021 (ViViT, Sec. 3.4) use the middle frame
    alone; weights spread over three frames would see less at both ends of an instance, which has few frames. R3D has
    no pooling after its stem, so its maps are twice as large as the recogniser's.
    """
    names = {"embedder.embedder.convolution": "stem.0", "embedder.embedder.normalization": "stem.1"}
    for stage, depth in enumerate(recogniser.config.depths):
        for block in range(depth):
            old, new = f"encoder.stages.{stage}.layers.{block}", f"layer{stage + 1}.{block}"
            names |= {f"{old}.shortcut.convolution": f"{new}.downsample.0"}
            names |= {f"{old}.shortcut.normalization": f"{new}.downsample.1"}
            for number in (0, 1):
                names[f"{old}.layer.{number}.convolution"] = f"{new}.conv{number + 1}.0"
                names[f"{old}.layer.{number}.normalization"] = f"{new}.conv{number + 1}.1"
    weights = {}
    for name, value in recogniser.trunk.state_dict().items():
        module, kind = name.rsplit(".", 1)
        if value.ndim == 4:
            # A shortcut's single pixel stays a single frame.
            beside = 0 if value.shape[-1] == 1 else 1
            value = nn.functional.pad(value[:, :, None], (0, 0, 0, 0, beside, beside))
        weights[f"{names[module]}.{kind}"] = value
    return weights


def start_trunk(model: PreTrainedModel, checkpoint: Path) -> list[str]:
    """Start a system's trunk from a recogniser, and its guide where it has one.

    Args:
        model: The system; changed in place.
        checkpoint: Folder of a `frame_resnet` checkpoint.

    Returns:
        Names of the parts that were taken; none where the trunk is neither a ResNet nor an R3D.

    Raises:
        ValueError: If the trunk has other widths or depths than the recogniser.
    """
    if hasattr(model, "guide"):
        taken = initialise(model, str(checkpoint))
        return sorted({name.split(".")[0] for name in taken.tensors})
    trunk = getattr(model, "trunk", None)
    if not isinstance(trunk, R3dTrunk | ResNetBackbone):
        return []
    recogniser = FrameResNetForVideoClassification.from_pretrained(checkpoint, dtype=torch.float32)
    known = inflated(recogniser) if isinstance(trunk, R3dTrunk) else recogniser.trunk.state_dict()
    own = trunk.state_dict()
    fits = {name: name in known and known[name].shape == value.shape for name, value in own.items()}
    if not all(fits.values()):
        first = next(name for name, fit in fits.items() if not fit)
        raise ValueError(
            f"Expected a trunk of widths {recogniser.config.hidden_sizes} and depths {recogniser.config.depths}, as "
            f"{checkpoint.name} has, but {first} is of shape {tuple(own[first].shape)} here. "
            "Give the system the same widths and depths."
        )
    trunk.load_state_dict({name: known[name] for name in own})
    return ["trunk"]
