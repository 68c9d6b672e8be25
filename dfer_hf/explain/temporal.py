"""What an answer loses when frames of a clip are left out.

A system that sees its frames apart encodes every frame once; only what follows is run again for each frame or run of
frames. Where a clip may be shorter the frames are gone; where it may not, the nearest that is left replaces each.
"""

from collections.abc import Iterator

import numpy as np
import torch

from ..models.modeling_dfer import DferOutput, DferPreTrainedModel

FRAMES_PER_BATCH = 512
"""Frames that are answered at a time, encoded or not."""
MOST_RUNS = 32
"""How often the rest of a system is run for one clip, however long it is."""


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


def runs(num_frames: int, length: int) -> torch.Tensor:
    """Choose the run of frames around each frame; at the ends of the clip it is moved inwards.

    Args:
        num_frames: Of the clip.
        length: Of a run; at least one frame of the clip remains.

    Returns:
        Which frames each run holds, `(num_frames, num_frames)` of booleans, a row for each frame.

    Raises:
        ValueError: If the clip has less than two frames, or the length is not at least 1.
    """
    if num_frames < 2 or length < 1:
        raise ValueError(
            f"Expected two frames or more and a run of at least one, got {num_frames} frames and runs of {length}. "
            "Of a single frame nothing can be left out."
        )
    length = min(length, num_frames - 1)
    frames = torch.arange(num_frames)
    first = (frames - (length - 1) // 2).clamp(0, num_frames - length)[:, None]
    return (frames >= first) & (frames < first + length)


def quarter_runs(num_frames: int, most: int = MOST_RUNS) -> torch.Tensor:
    """Choose runs of a quarter of a clip, one about each frame, or about each of `most` equal stretches.

    A face seldom changes from one frame to the next: without one of them an answer loses next to nothing, even where
    all rests on its stretch of the clip.

    Returns:
        `(runs, num_frames)` of booleans, as from `runs`; no run at all where there are less than two frames.
    """
    stretch = torch.arange(num_frames) * min(num_frames, most) // num_frames
    num_stretches = min(num_frames, most)
    if num_stretches < 2:
        return torch.zeros(0, num_frames, dtype=torch.bool)
    return runs(num_stretches, max(1, round(num_stretches / 4)))[:, stretch]


def nearest_kept(left_out: torch.Tensor) -> torch.Tensor:
    """Find for each frame the nearest that is not left out, the earlier one of two.

    Args:
        left_out: `(variants, num_frames)` of booleans.

    Returns:
        Indices of frames, `(variants, num_frames)`.
    """
    frames = torch.arange(left_out.shape[1], device=left_out.device)
    distance = 2 * (frames[:, None] - frames).abs() + (frames > frames[:, None]).long()  # (frames, candidates)
    return distance.masked_fill(left_out[:, None], 2 * len(frames) + 2).argmin(dim=-1)


@torch.inference_mode()
def answer_without(
    model: DferPreTrainedModel, clips: torch.Tensor, left_out: torch.Tensor, *, frames_per_second: float | None = None
) -> torch.Tensor:
    """Answer clips without some of their frames.

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
    if not len(left_out) or left_out.all(dim=1).any():
        raise ValueError("Expected variants of the clip that each keep a frame, got none, or one that keeps none.")
    is_encoded = clips.ndim == 3
    if model.sees_frames_apart and not is_encoded:
        clips, is_encoded = model.encode_frames(clips), True
    logits = torch.empty(len(clips), len(left_out), len(model.config.label_names), device=clips.device)
    for variants, places in _batches(left_out.to(clips.device), len(clips), shorten=model.takes_any_length):
        chosen = clips[:, places].flatten(0, 1)  # (batch·variants, kept, ...)
        if is_encoded:
            output = model.answer_encoded(chosen, frames_per_second=frames_per_second)
        else:
            output = model(pixel_values_videos=chosen)
        logits[:, variants] = output.logits.float().unflatten(0, (len(clips), len(variants)))
    return logits


def _batches(left_out: torch.Tensor, num_clips: int, *, shorten: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Indices of variants, and the frames of each, `(variants, kept)`, equally many for all of a batch."""
    num_kept = (~left_out).sum(dim=1) if shorten else torch.full_like(left_out[:, 0], left_out.shape[1]).long()
    for count in num_kept.unique().tolist():
        of_count = (num_kept == count).nonzero()[:, 0]
        for variants in of_count.split(max(1, FRAMES_PER_BATCH // (num_clips * count))):
            rows = left_out[variants]
            places = (~rows).nonzero()[:, 1].view(len(rows), count) if shorten else nearest_kept(rows)
            yield variants, places


def frame_effects(losses: torch.Tensor, left_out: torch.Tensor) -> torch.Tensor:
    """Share what variants lose out to the frames they lack: each frame has the mean over the variants without it.

    Args:
        losses: What each variant loses, `(batch, variants)`; negative where the answer gains.
        left_out: Which frames each lacks, `(variants, num_frames)` of booleans.

    Returns:
        `(batch, num_frames)`; zero for a frame that none lacks.
    """
    lacks = left_out.to(losses)
    return losses @ lacks / lacks.sum(dim=0).clamp_min(1)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two series `(count,)`; NaN where one of them is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value, from 0; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts + 1) / 2)[place]
