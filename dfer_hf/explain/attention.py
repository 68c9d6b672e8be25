"""Maps from attention between the places of one frame."""

import math

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..models.modeling_dfer import DferPreTrainedModel
from ..models.modeling_temporal_transformer import TemporalAttention
from .gradients import PlaceEvidence, take_gradients
from .options import UnknownMethodError
from .targets import ANSWER, Target


def attention_rollout(
    model: DferPreTrainedModel, pixel_values_videos: torch.Tensor, target: Target = ANSWER
) -> PlaceEvidence:
    """Follow attention through the layers, its heads weighed by gradients (Chefer et al. 2021).

    Plain rollout (Abnar and Zuidema 2020) would be the same for every target. A frame without attention of its own,
    such as the last of NR-DFERNet's, has an empty map.

    Args:
        model: A system in evaluation, with a part that its `spatial_attention` names.
        pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
        target: What is explained.

    Raises:
        UnknownMethodError: If the system has no attention between the places of a frame.
    """
    if model.spatial_attention is None:
        raise UnknownMethodError(
            f"Expected a system with attention between the places of a frame, got {type(model).__name__}. Choose "
            "another method."
        )
    part = model.get_submodule(model.spatial_attention)

    def restart_gradient(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0].detach().requires_grad_(), *inputs[1:])

    def hook_into(tensors: list[torch.Tensor]) -> list[RemovableHandle]:
        def keep_weights(_module: nn.Module, _inputs: tuple, output: tuple[torch.Tensor, torch.Tensor]) -> None:
            tensors.append(output[1])  # (n, heads, places, places)

        layers = [layer for layer in part.modules() if isinstance(layer, TemporalAttention)]
        return [
            part.register_forward_pre_hook(restart_gradient),
            *(layer.register_forward_hook(keep_weights) for layer in layers),
        ]

    kept, model.config._attn_implementation = model.config._attn_implementation, "eager"
    try:
        found = take_gradients(model, pixel_values_videos, target, hook_into)
    finally:
        model.config._attn_implementation = kept
    num_places = found.tensors[0].shape[-1]
    even = found.tensors[0].new_full((len(found.tensors[0]), num_places), 1 / num_places)
    share = even
    for weights, gradient in zip(reversed(found.tensors), reversed(found.gradients), strict=True):
        relevance = (weights * gradient).relu().mean(dim=1)  # (n, places, places)
        share = share + (share[:, :, None] * relevance).sum(dim=1)
    side = math.isqrt(num_places)
    maps = (share - even).float().view(len(pixel_values_videos), -1, side, side)
    missing = pixel_values_videos.shape[1] - maps.shape[1]
    return PlaceEvidence(nn.functional.pad(maps, (0, 0, 0, 0, 0, missing)), found.output, found.encoded)
