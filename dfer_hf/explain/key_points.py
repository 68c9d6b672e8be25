"""Key points and regions of the key-points GCN, with what each adds to the answer."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..models.modeling_dfer import DferPreTrainedModel
from ..models.modeling_keypoint_gcn import KeypointGcnForVideoClassification, heat_maps, key_points
from .gradients import PlaceEvidence, take_gradients
from .targets import ANSWER, Target

MAP_SIDE = 28
NODES_OF_REGION = {
    "left brow": (0, 1, 2),
    "left eye": (3, 4),
    "right brow": (5, 6, 7),
    "right eye": (8, 9),
    "nose": (10, 11),
    "mouth": (12, 13, 14, 15),
    "left cheek": (16,),
    "right cheek": (17,),
}
"""Region to its key points; left and right are the picture's."""


@dataclass(frozen=True, eq=False)
class KeyPointEvidence(PlaceEvidence):
    """What each key point adds to the log-odds of what is explained, beside the maps drawn from it.

    Args:
        points: Where the key points are, `(batch, num_frames, 18, 2)`, x and y as fractions of the side.
        weights: What each adds, to first order, `(batch, num_frames, 18)`; negative where it speaks against.
        whole_face: What the feature of the whole face adds, `(batch, num_frames)`.
    """

    points: torch.Tensor
    weights: torch.Tensor
    whole_face: torch.Tensor

    @property
    def regions(self) -> dict[str, torch.Tensor]:
        """What the key points of each region add together, `(batch, num_frames)` each."""
        return {name: self.weights[..., list(nodes)].sum(dim=-1) for name, nodes in NODES_OF_REGION.items()}


def key_point_evidence(
    model: DferPreTrainedModel, pixel_values_videos: torch.Tensor, target: Target = ANSWER
) -> KeyPointEvidence:
    """Take the gradient times the feature at every key point, and draw what speaks for the target about it.

    A key point's weight holds what it gives to its neighbours in the graph.

    Args:
        model: The key-points GCN in evaluation.
        pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
        target: What is explained.
    """
    system = cast(KeypointGcnForVideoClassification, model)
    landmarks: list[torch.Tensor] = []

    def keep_landmarks(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        landmarks.append(output)

    def hook_into(tensors: list[torch.Tensor]) -> list[RemovableHandle]:
        def restart_gradient(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            tensors.extend(features.detach().requires_grad_() for features in inputs)
            return tuple(tensors)

        return [
            system.landmark_head.register_forward_hook(keep_landmarks),
            system.graph_convolution.register_forward_pre_hook(restart_gradient),
        ]

    found = take_gradients(model, pixel_values_videos, target, hook_into)
    local, whole = (
        (features * gradient).sum(dim=-1).float()  # (n, 18) and (n, 1)
        for features, gradient in zip(found.tensors, found.gradients, strict=True)
    )
    points = key_points(landmarks[0].float())  # (n, 18, 2)
    # As wide as the model's own Gaussians, whose last map has a 16th of the frame's side.
    sigma = system.config.heat_map_sigma * MAP_SIDE * 16 / system.config.image_size
    drawn = heat_maps(points, MAP_SIDE, MAP_SIDE, sigma)  # (n, 18, side, side)
    maps = (local.relu()[:, :, None, None] * drawn).sum(dim=1)
    shape = pixel_values_videos.shape[:2]
    return KeyPointEvidence(
        maps.unflatten(0, shape),
        found.output,
        found.encoded,
        points.unflatten(0, shape),
        local.unflatten(0, shape),
        whole[:, 0].unflatten(0, shape),
    )
