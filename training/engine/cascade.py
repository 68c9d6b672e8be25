"""Start the nets of CFC-SP that are ResNets from a frame recogniser."""

import math
from collections.abc import Mapping, Sequence

import torch

from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from dfer_hf.models.modeling_cfc_sp_nets import ResNetTrunk
from training.engine.optim import TRUNK


def cascade_tensors(
    model: CfcSpForVideoClassification, recogniser: Mapping[str, torch.Tensor], label_names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return the tensors of a frame recogniser under the names they have in each ResNet of a cascade.

    Inside a group, the recogniser's own logits tell the classes apart. The logit of a group of several classes starts
    as if all of them were equally probable: the mean of their logits, plus the logarithm of their number.

    Args:
        model: The cascade.
        recogniser: Tensors of the frame recogniser.
        label_names: Its classes in order.

    Raises:
        ValueError: If the cascade has other classes.
    """
    if list(label_names) != model.config.label_names:
        raise ValueError(
            f"Expected a frame recogniser of the classes {', '.join(model.config.label_names)}, got one of "
            f"{', '.join(label_names)}. Start from one of the same classes."
        )
    weight, bias = recogniser["classifier.weight"], recogniser["classifier.bias"]
    members = [[label_names.index(label) for label in group] for group in model.config.groups.values()]
    fine = [label for group in model.split_labels for label in group]
    heads = {
        "coarse_nets": (
            torch.stack([weight[group].mean(dim=0) for group in members]),
            torch.stack([bias[group].mean() + math.log(len(group)) for group in members]),
        ),
        "fine_nets": (weight[fine], bias[fine]),
    }
    tensors = {}
    for kind, (head_weight, head_bias) in heads.items():
        for place, net in enumerate(model.get_submodule(kind).children()):
            if isinstance(net.get_submodule("trunk"), ResNetTrunk):
                begins = f"{kind}.{place}."
                tensors |= {
                    f"{begins}trunk.backbone.{name.removeprefix(TRUNK)}": tensor
                    for name, tensor in recogniser.items()
                    if name.startswith(TRUNK)
                }
                tensors |= {f"{begins}head.2.weight": head_weight, f"{begins}head.2.bias": head_bias}
    return tensors
