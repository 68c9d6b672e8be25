"""Maps of torch models from random masks."""

from collections.abc import Callable

import numpy as np
import torch

from ..models.modeling_dfer import DferPreTrainedModel
from .answering import contrast_of, encode_and_answer, steps_of
from .gradients import PlaceEvidence
from .masks import NUM_MASKS, mask_maps
from .targets import ANSWER, Contrast, Target


@torch.inference_mode()
def mask_evidence(
    model: DferPreTrainedModel,
    clips: np.ndarray,
    to_pixel_values: Callable[[np.ndarray], torch.Tensor],
    target: Target = ANSWER,
    *,
    num_masks: int = NUM_MASKS,
    seed: int = 0,
) -> PlaceEvidence:
    """Cover parts of clips, and see what is lost by covering each place; see `mask_maps`.

    Args:
        model: A system in evaluation.
        clips: Frames as they are covered, `(batch, num_frames, height, width, channels)`.
        to_pixel_values: Turns such clips into what the model takes.
        target: What is explained.
        num_masks: For each clip.
        seed: Of the masks, which are the same for all clips.
    """
    output, encoded = encode_and_answer(model, to_pixel_values(clips))
    contrast, steps = contrast_of(target, model, output.logits), steps_of(model, to_pixel_values)
    maps = [
        mask_maps(steps, clip, Contrast(towards[None], against[None]), num_masks=num_masks, seed=seed)
        for clip, towards, against in zip(clips, contrast.towards, contrast.against, strict=True)
    ]
    return PlaceEvidence(torch.from_numpy(np.stack(maps)), output, encoded)


def evidence_of_pixel_values(
    model: DferPreTrainedModel, pixel_values_videos: torch.Tensor, target: Target = ANSWER, **options: int
) -> PlaceEvidence:
    """Cover parts of pixel values `(batch, num_frames, channels, height, width)`, and see the like.

    The other arguments are those of `mask_evidence`.
    """

    def to_pixel_values(clips: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).to(pixel_values_videos)

    clips = pixel_values_videos.float().permute(0, 1, 3, 4, 2).cpu().numpy()
    return mask_evidence(model, clips, to_pixel_values, target, **options)
