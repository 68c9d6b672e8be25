"""What an answer loses when frames of a clip are left out.

A system that sees its frames apart encodes every frame once; only what follows is run again for each frame or run of
frames. Where a clip may be shorter the frames are gone; where it may not, the nearest that is left replaces each.
"""

from collections.abc import Callable, Iterator

import numpy as np

FRAMES_PER_BATCH = 512
"""Frames that are answered at a time, encoded or not."""
MOST_RUNS = 32
"""How often the rest of a system is run for one clip, however long it is."""


def runs(num_frames: int, length: int) -> np.ndarray:
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
    frames = np.arange(num_frames)
    first = (frames - (length - 1) // 2).clip(0, num_frames - length)[:, None]
    return (frames >= first) & (frames < first + length)


def quarter_runs(num_frames: int, most: int = MOST_RUNS) -> np.ndarray:
    """Choose runs of a quarter of a clip, one about each frame, or about each of `most` equal stretches.

    A face seldom changes from one frame to the next: without one of them an answer loses next to nothing, even where
    all rests on its stretch of the clip.

    Returns:
        `(runs, num_frames)` of booleans, as from `runs`; no run at all where there are less than two frames.
    """
    num_stretches = min(num_frames, most)
    if num_stretches < 2:
        return np.zeros((0, num_frames), dtype=bool)
    stretch = np.arange(num_frames) * num_stretches // num_frames
    return runs(num_stretches, max(1, round(num_stretches / 4)))[:, stretch]


def nearest_kept(left_out: np.ndarray) -> np.ndarray:
    """Find for each frame the nearest that is not left out, the earlier one of two.

    Args:
        left_out: `(variants, num_frames)` of booleans.

    Returns:
        Indices of frames, `(variants, num_frames)`.
    """
    frames = np.arange(left_out.shape[1])
    distance = 2 * np.abs(frames[:, None] - frames) + (frames > frames[:, None])  # (frames, candidates)
    return np.where(left_out[:, None], 2 * len(frames) + 2, distance).argmin(axis=-1)


def answer_variants(
    answer: Callable[[np.ndarray], np.ndarray], left_out: np.ndarray, *, num_clips: int, takes_any_length: bool
) -> np.ndarray:
    """Answer clips without some of their frames.

    Args:
        answer: Takes the frames of some variants, as indices `(variants, kept)`, and returns what the system says of
            them, `(num_clips, variants, num_labels)`.
        left_out: Which frames each variant of a clip lacks, `(variants, num_frames)` of booleans.
        num_clips: That are answered together.
        takes_any_length: Whether clips may be shorter; the nearest frames that are left replace the others if not.

    Returns:
        What the system says of every variant, `(num_clips, variants, num_labels)`.

    Raises:
        ValueError: If there is no variant, or one would have no frame at all.
    """
    if not len(left_out) or left_out.all(axis=1).any():
        raise ValueError("Expected variants of the clip that each keep a frame, got none, or one that keeps none.")
    # At the ends of a clip several variants are one.
    left_out, same = np.unique(left_out, axis=0, return_inverse=True)
    variants, places = zip(*_batches(left_out, num_clips, shorten=takes_any_length), strict=True)
    answers = np.concatenate([answer(part) for part in places], axis=1)
    return answers[:, np.argsort(np.concatenate(variants))][:, same.ravel()]


def _batches(left_out: np.ndarray, num_clips: int, *, shorten: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices of variants, and the frames of each, `(variants, kept)`, equally many for all of a batch."""
    num_kept = (~left_out).sum(axis=1) if shorten else np.full(len(left_out), left_out.shape[1])
    for count in np.unique(num_kept).tolist():
        of_count = np.nonzero(num_kept == count)[0]
        per_batch = max(1, FRAMES_PER_BATCH // (num_clips * count))
        for start in range(0, len(of_count), per_batch):
            variants = of_count[start : start + per_batch]
            rows = left_out[variants]
            places = np.nonzero(~rows)[1].reshape(len(rows), count) if shorten else nearest_kept(rows)
            yield variants, places


def frame_effects(losses: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Share what variants lose out to the frames they lack: each frame has the mean over the variants without it.

    Args:
        losses: What each variant loses, `(batch, variants)`; negative where the answer gains.
        left_out: Which frames each lacks, `(variants, num_frames)` of booleans.

    Returns:
        `(batch, num_frames)`; zero for a frame that none lacks.
    """
    lacks = left_out.astype(losses.dtype)
    return losses @ lacks / lacks.sum(axis=0).clip(min=1)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two series `(count,)`; NaN where one of them is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value, from 0; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts + 1) / 2)[place]
