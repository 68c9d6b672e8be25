"""LayerCAM (Jiang et al. 2021) for every frame of a clip.

Unlike Grad-CAM it weighs every place by its own gradient, so it can look at an early, fine layer. Which one a system
names was chosen by `training/evaluation/faithfulness.py` where it has a shipped checkpoint: covering the fifth of each
frame that is marked takes 0.40 of the probability of AEN's answer at the second stage, 0.22 at the third. The first
takes 0.48, but its maps are a grid of points.
"""

import torch
from torch import nn

from ..models.modeling_dfer import DferOutput, DferPreTrainedModel


def layer_cam(
    model: DferPreTrainedModel,
    pixel_values_videos: torch.Tensor,
    *,
    target: int | None = None,
    layer: str | None = None,
) -> tuple[torch.Tensor, DferOutput]:
    """Show which parts of each frame speak for a class.

    The maps come from the layer a model names as its `evidence_layer`, which sees the frames one by one: each frame
    gets a map of its own. Gradients are taken of the clip's logit, so a frame that did not count has a faint map.

    Args:
        model: A system of this package, in evaluation.
        pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
        target: Index of the fine class to explain; each clip's answer when left out.
        layer: Name of the part whose maps to look at; the model's `evidence_layer` when left out.

    Returns:
        Maps `(batch, num_frames, h, w)` from 0 to 1, scaled by the largest value of each clip, and the model's output.

    It hooks into the model while it runs, so that no other thread may use the same model meanwhile.

    Raises:
        ValueError: If the model does not say where its evidence lies.
    """
    name = layer or getattr(model, "evidence_layer", None)
    if name is None:
        raise ValueError(f"Expected {type(model).__name__} to name its `evidence_layer`, but it has none.")
    activations: list[torch.Tensor] = []

    def restart_gradient(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        # A second call, such as by a guide, is no evidence.
        if activations:
            return output
        activations.append(output.detach().requires_grad_())
        return activations[0]

    hook = model.get_submodule(name).register_forward_hook(restart_gradient)
    try:
        with torch.enable_grad():
            output = model(pixel_values_videos=pixel_values_videos)
            logits = output.logits.float()
            chosen = model.decide(logits) if target is None else torch.full_like(logits[:, 0], target).long()
            score = logits.gather(1, chosen[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, activations[0])
    finally:
        hook.remove()
    maps = (gradient.relu() * activations[0].detach()).sum(dim=1).relu()  # (batch·frames, h, w)
    maps = maps.unflatten(0, tuple(pixel_values_videos.shape[:2])).float()
    largest = maps.amax(dim=(1, 2, 3), keepdim=True)
    return maps / largest.clamp_min(torch.finfo(torch.float32).tiny), output
