"""Maps from the gradients of what is explained, at a layer that sees the frames one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..models.modeling_dfer import DferOutput, DferPreTrainedModel
from .answering import contrast_of, encode_and_answer
from .targets import ANSWER, Contrast, Target


@dataclass(frozen=True, eq=False)
class PlaceEvidence:
    """Where in each frame of a batch of clips the evidence lies.

    Args:
        maps: `(batch, num_frames, h, w)`, never negative, in a unit of the method's own.
        output: What the model answered.
        encoded: What `encode_frames` said, `(batch, num_frames, features)`; None for a system that has no such.
    """

    maps: torch.Tensor
    output: DferOutput
    encoded: torch.Tensor | None

    @property
    def scaled_maps(self) -> torch.Tensor:
        """The maps from 0 to 1, divided by the largest value of each clip."""
        largest = self.maps.amax(dim=(1, 2, 3), keepdim=True)
        return self.maps / largest.clamp_min(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Tensors within a model, and how what is explained changes with them."""

    tensors: list[torch.Tensor]
    gradients: Sequence[torch.Tensor]
    output: DferOutput
    encoded: torch.Tensor | None


def log_odds(contrast: Contrast, logits: torch.Tensor) -> torch.Tensor:
    """Say what `Contrast.log_odds` says of logits `(batch, num_labels)`, with its gradient, `(batch,)`."""
    logits = logits.float()
    towards, against = (
        logits.masked_fill(~torch.from_numpy(part).to(logits.device), -torch.inf).logsumexp(dim=-1)
        for part in (contrast.towards, contrast.against)
    )
    return towards - against


def take_gradients(
    model: DferPreTrainedModel,
    pixel_values_videos: torch.Tensor,
    target: Target,
    hook_into: Callable[[list[torch.Tensor]], list[RemovableHandle]],
) -> Gradients:
    """Answer clips, and take the gradient of the target's log-odds at tensors within the model.

    It hooks into the model while it runs, so that no other thread may use the same model meanwhile.

    Args:
        model: A system in evaluation.
        pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
        target: What is explained.
        hook_into: Registers hooks that put the tensors into the list it gets, and returns the hooks.
    """
    tensors: list[torch.Tensor] = []
    hooks = hook_into(tensors)
    try:
        with torch.enable_grad():
            output, encoded = encode_and_answer(model, pixel_values_videos)
            score = log_odds(contrast_of(target, model, output.logits), output.logits).sum()
            gradients = torch.autograd.grad(score, tensors, materialize_grads=True)
    finally:
        for hook in hooks:
            hook.remove()
    return Gradients([tensor.detach() for tensor in tensors], gradients, output, encoded)


def layer_cam(
    model: DferPreTrainedModel, pixel_values_videos: torch.Tensor, target: Target = ANSWER, *, layer: str | None = None
) -> PlaceEvidence:
    """Weigh every place of a map by its own gradient (LayerCAM, Jiang et al. 2021).

    Unlike Grad-CAM it can look at an early, fine layer. Gradients are taken of the clip's answer, so a frame that did
    not count has a faint map.

    Args:
        model: A system in evaluation.
        pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
        target: What is explained.
        layer: Name of the part whose maps to look at; the model's `evidence_layer` where it is left out.
    """
    maps, gradient, found = _maps_at(model, pixel_values_videos, target, layer or model.evidence_layer)
    return PlaceEvidence((gradient.relu() * maps).sum(dim=2).relu().float(), found.output, found.encoded)


def grad_cam(
    model: DferPreTrainedModel, pixel_values_videos: torch.Tensor, target: Target = ANSWER, *, layer: str | None = None
) -> PlaceEvidence:
    """Weigh the channels of the last maps by their mean gradients in each frame (Grad-CAM, Selvaraju et al. 2017).

    The arguments are those of `layer_cam`; the layer is the model's last with a map of each frame.
    """
    name = layer or model.last_map_layer or model.evidence_layer
    maps, gradient, found = _maps_at(model, pixel_values_videos, target, name)
    weights = gradient.mean(dim=(3, 4), keepdim=True)
    return PlaceEvidence((weights * maps).sum(dim=2).relu().float(), found.output, found.encoded)


def _maps_at(
    model: DferPreTrainedModel, pixel_values_videos: torch.Tensor, target: Target, layer: str
) -> tuple[torch.Tensor, torch.Tensor, Gradients]:
    """Maps of a layer and their gradient, both `(batch, num_frames, C, h, w)`."""

    def hook_into(tensors: list[torch.Tensor]) -> list[RemovableHandle]:
        def restart_gradient(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            # A second call, such as by a guide, is no evidence.
            if tensors:
                return output
            tensors.append(output.detach().requires_grad_())
            return tensors[0]

        return [model.get_submodule(layer).register_forward_hook(restart_gradient)]

    found = take_gradients(model, pixel_values_videos, target, hook_into)
    shape = pixel_values_videos.shape[:2]
    return found.tensors[0].unflatten(0, shape), found.gradients[0].unflatten(0, shape), found
