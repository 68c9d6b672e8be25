"""What a torch model says of clips, whole and without some of their frames."""

from collections.abc import Callable

import numpy as np
import torch

from ..models.modeling_dfer import DferOutput, DferPreTrainedModel
from .masks import Steps
from .targets import Contrast, Target
from .temporal import answer_variants


def encode_and_answer(
    model: DferPreTrainedModel, pixel_values_videos: torch.Tensor
) -> tuple[DferOutput, torch.Tensor | None]:
    """Answer clips as the model does, and keep its encoded frames, `(batch, num_frames, features)`.

    These are None for a system that looks at several frames together from the start.
    """
    if not model.sees_frames_apart:
        return model(pixel_values_videos=pixel_values_videos), None
    model.check_pixel_values(pixel_values_videos)
    encoded = model.encode_frames(pixel_values_videos)
    return model.answer_encoded(encoded), encoded.detach()


def contrast_of(target: Target, model: DferPreTrainedModel, logits: torch.Tensor) -> Contrast:
    """Find the classes that a target stands for.

    Args:
        target: What is explained.
        model: Whose classes and groups they are.
        logits: Of the whole clips, `(batch, num_labels)`; they say what each clip's answer is.

    Raises:
        UnknownTargetError: See `Target.resolve`, and likewise EmptyContrastError.
    """
    return target.resolve(model.config, model.decide(logits.detach()).cpu().numpy())


def steps_of(model: DferPreTrainedModel, to_pixel_values: Callable[[np.ndarray], torch.Tensor]) -> Steps:
    """Say how a model answers, step by step.

    Args:
        model: A system in evaluation.
        to_pixel_values: Turns clips `(clips, frames, height, width, channels)` into what the model takes.
    """

    def encode(frames: np.ndarray) -> np.ndarray:
        return _to_array(model.encode_frames(to_pixel_values(frames[None]))[0])

    def answer_encoded(clips: np.ndarray) -> np.ndarray:
        return _to_array(model.answer_encoded(torch.from_numpy(clips).to(model.device, model.dtype)).logits)

    def answer(clips: np.ndarray) -> np.ndarray:
        return _to_array(model(pixel_values_videos=to_pixel_values(clips)).logits)

    return Steps(encode, answer_encoded) if model.sees_frames_apart else Steps(lambda frames: frames, answer)


@torch.inference_mode()
def answer_without(
    model: DferPreTrainedModel, clips: torch.Tensor, left_out: np.ndarray, *, frames_per_second: float | None = None
) -> np.ndarray:
    """Answer clips without some of their frames; see `answer_variants`.

    Args:
        model: A system in evaluation.
        clips: Pixel values `(batch, num_frames, channels, height, width)`, or what `encode_frames` said of them.
        left_out: Which frames each variant of a clip lacks, `(variants, num_frames)` of booleans.
        frames_per_second: Of the clips, as in `answer_encoded`.

    Returns:
        Logits of every variant, `(batch, variants, num_labels)`.

    Raises:
        ValueError: If a variant would have no frame at all.
    """
    is_encoded = clips.ndim == 3
    if model.sees_frames_apart and not is_encoded:
        clips, is_encoded = model.encode_frames(clips), True

    def answer(places: np.ndarray) -> np.ndarray:
        chosen = torch.from_numpy(places).to(clips.device)  # (variants, kept)
        if not is_encoded:
            return _to_array(model.answer_rearranged(clips, chosen))
        output = model.answer_encoded(clips[:, chosen].flatten(0, 1), frames_per_second=frames_per_second)
        return _to_array(output.logits).reshape(len(clips), len(places), -1)

    return answer_variants(answer, left_out, num_clips=len(clips), takes_any_length=model.takes_any_length)


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
