"""The methods that show where in each frame the evidence lies, by name, and the systems that each is offered for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ..models.modeling_dfer import DferPreTrainedModel
from ..models.modeling_former_dfer import FormerDferForVideoClassification
from ..models.modeling_keypoint_gcn import KeypointGcnForVideoClassification
from ..models.modeling_nr_dfernet import NrDfernetForVideoClassification
from .attention import attention_rollout
from .gradients import PlaceEvidence, grad_cam, layer_cam
from .key_points import key_point_evidence
from .mask_evidence import evidence_of_pixel_values
from .options import MASKS, ExplainOptions
from .targets import ANSWER, Target


@dataclass(frozen=True)
class SpatialMethod:
    """A way to find the places that count.

    Args:
        explain: Takes a model, clips `(batch, num_frames, channels, height, width)` and a target.
        description: What it does, in a line.
        fits: Whether it is offered for a model.
    """

    explain: Callable[[DferPreTrainedModel, torch.Tensor, Target], PlaceEvidence]
    description: str
    fits: Callable[[DferPreTrainedModel], bool] = lambda _model: True


SPATIAL_METHODS: Mapping[str, SpatialMethod] = {
    "layercam": SpatialMethod(layer_cam, "each place of an early, fine map, by its own gradient"),
    "gradcam": SpatialMethod(
        grad_cam,
        "the channels of the last map, by their mean gradients",
        # Measured for these, what its maps name keeps no more of an answer than what they do not.
        lambda model: not isinstance(model, KeypointGcnForVideoClassification | NrDfernetForVideoClassification),
    ),
    "attention": SpatialMethod(
        attention_rollout,
        "attention between the places of a frame, through its layers",
        # Measured for Former-DFER, it is no better than chance either.
        lambda model: model.spatial_attention is not None and not isinstance(model, FormerDferForVideoClassification),
    ),
    "keypoints": SpatialMethod(
        key_point_evidence,
        "the key points of the face, by what each adds",
        lambda model: isinstance(model, KeypointGcnForVideoClassification),
    ),
    MASKS: SpatialMethod(evidence_of_pixel_values, "what is lost by covering each place; takes minutes"),
}
"""Name of a method to what it does."""


def methods_for(model: DferPreTrainedModel) -> list[str]:
    """Name the methods that are offered for a model, the default first."""
    offered = [name for name, method in SPATIAL_METHODS.items() if method.fits(model)]
    return sorted(offered, key=lambda name: name != model.map_method)


def refuse_unoffered(options: ExplainOptions, model: DferPreTrainedModel) -> None:
    """Refuse an explanation that is not offered for a model; see `ExplainOptions.check`."""
    options.check(methods_for(model), model.config, offered_by=type(model).__name__)


def explain_places(
    model: DferPreTrainedModel,
    pixel_values_videos: torch.Tensor,
    target: Target = ANSWER,
    *,
    method: str | None = None,
) -> PlaceEvidence:
    """Show where in each frame the evidence for a target lies.

    Args:
        model: A system of this package, in evaluation; no other thread may use it meanwhile.
        pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
        target: What is explained.
        method: One of `methods_for(model)`; the first where it is left out.

    Raises:
        UnknownMethodError: If there is no such method, or it is not offered for the model.
        UnknownTargetError: If the target names no class and no group.
    """
    method = method or methods_for(model)[0]
    refuse_unoffered(ExplainOptions(method, target), model)
    return SPATIAL_METHODS[method].explain(model, pixel_values_videos, target)
