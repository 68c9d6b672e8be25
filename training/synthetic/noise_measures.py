"""How much weight a system gives to noise: arithmetic on its frame weights and the truth of a test bed.

Everything is compared with mean pooling, which gives each of `T` frames the weight `1 / T` and so gives noise its
share of the frames. Beside it stands what the system's habit of preferring some places in the clip would give by
itself: the same measure of the mean weights of all clips, which know nothing of the clip at hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.synthetic.render_clips import FrameKind

Figure = dict[str, float]
NUM_RESAMPLES = 2000
STRONG = 0.6
"""Least intensity of another expression in `render_clip`; that of target frames rises and falls."""


@dataclass(frozen=True)
class Observed:
    """What a system said of clips, beside their truth.

    Args:
        labels: True class, `(clips,)`.
        kinds: `FrameKind` of each frame, `(clips, num_frames)`.
        intensities: How strong the expression of each frame is, 0 to 1, `(clips, num_frames)`.
        probabilities: Of the clip's classes, `(clips, num_labels)`.
        frame_probabilities: Of each frame's classes, `(clips, num_frames, num_labels)`.
        frame_weights: `(clips, num_frames)`; each row sums to 1.
    """

    labels: np.ndarray
    kinds: np.ndarray
    intensities: np.ndarray
    probabilities: np.ndarray
    frame_probabilities: np.ndarray
    frame_weights: np.ndarray


def relative_weight(weights: np.ndarray, chosen: np.ndarray) -> float:
    """Weight on chosen frames over their share of the frames, both summed over clips: 1 is what mean pooling gives.

    Args:
        weights: `(clips, num_frames)`, each row sums to 1.
        chosen: Which frames, booleans of the same shape.

    >>> relative_weight(np.array([[0.5, 0.4, 0.1, 0.0]]), np.array([[False, False, True, True]]))
    0.2
    """
    return float((weights * chosen).sum() / (chosen.sum() / chosen.shape[1]))


def weight_ratio(weights: np.ndarray, chosen: np.ndarray, others: np.ndarray) -> float:
    """Mean weight of chosen frames over the mean weight of other frames, booleans of the weights' shape.

    >>> weight_ratio(np.array([[0.6, 0.3, 0.1]]), np.array([[False, True, False]]), np.array([[True, False, False]]))
    0.5
    """
    return float(weights[chosen].mean() / weights[others].mean())


def ranks(values: np.ndarray) -> np.ndarray:
    """Rank values `(count,)` from 0; equal ones share the mean of their ranks.

    >>> ranks(np.array([0.3, 0.1, 0.3]))
    array([1.5, 0. , 1.5])
    """
    below = (values < values[:, None]).sum(axis=1)
    equal = (values == values[:, None]).sum(axis=1)
    return below + (equal - 1) / 2


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two rows of values; 0 where one of them is constant and so orders nothing.

    >>> rank_correlation(np.array([1, 2, 3]), np.array([10, 1000, 100]))
    0.5
    """
    first, second = ranks(first), ranks(second)
    first, second = first - first.mean(), second - second.mean()
    length = np.sqrt((first**2).sum() * (second**2).sum())
    return round(float((first * second).sum() / length), 12) if length > 0 else 0.0


def with_interval(
    statistic: Callable[..., float], rows: Sequence[np.ndarray], generator: np.random.Generator
) -> Figure:
    """A figure and its bootstrap interval of 95 % over clips: keys `value`, `low` and `high`.

    Args:
        statistic: Gives the figure of the rows of some clips.
        rows: What it takes, arrays of shape `(clips, ...)`, drawn together.
        generator: Draws the clips, with replacement.

    Raises:
        ValueError: If there are no clips.
    """
    count = len(rows[0])
    if count == 0:
        raise ValueError("Expected clips to measure, got none. Make a larger test part.")
    draws = generator.integers(count, size=(NUM_RESAMPLES, count))
    drawn = [statistic(*(row[draw] for row in rows)) for draw in draws]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return {"value": float(statistic(*rows)), "low": float(low), "high": float(high)}


def measure(observed: Observed, *, seed: int = 0) -> dict[str, Figure]:
    """All figures of a system, each with its interval.

    - `noise`, `neutral`, `covered`, `other`: relative weight on such frames, over the clips that have some.
    - `other as strong`: mean weight of a frame of another expression over that of a target frame of `STRONG` intensity
      or more. Weight may follow strength, and another expression is stronger than most target frames.
    - `intensity`: rank correlation of weight and true intensity over the target frames of a clip, mean over the clips
      of an expression.
    - `noise by place`, `intensity by place`: the same of the mean weights over all clips.
    - `accuracy`, `accuracy of frames`, `accuracy gained`: of the clip's answer, of the mean of its frames'
      probabilities, and their difference.

    Raises:
        ValueError: If the weights of a clip do not sum to 1, or there are no frames to measure of one sort.
    """
    weights, kinds, labels = observed.frame_weights, observed.kinds, observed.labels
    sums = weights.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-3):
        raise ValueError(
            f"Expected frame weights that sum to 1 in each clip, got sums from {sums.min():.4g} to {sums.max():.4g}."
        )
    by_place = np.broadcast_to(weights.mean(axis=0), weights.shape)
    generator = np.random.default_rng(seed)
    figures: dict[str, Figure] = {}

    noise = kinds != FrameKind.TARGET
    chosen = {"noise": (weights, noise), "noise by place": (by_place, noise)}
    chosen |= {kind.name.lower(): (weights, kinds == kind) for kind in FrameKind if kind != FrameKind.TARGET}
    for name, (given, frames) in chosen.items():
        # Clips without such frames would only widen the interval.
        with_such = frames.any(axis=1)
        figures[name] = with_interval(relative_weight, (given[with_such], frames[with_such]), generator)

    strong = ~noise & (observed.intensities >= STRONG)
    both = (kinds == FrameKind.OTHER).any(axis=1) & strong.any(axis=1)
    rows = (weights[both], (kinds == FrameKind.OTHER)[both], strong[both])
    figures["other as strong"] = with_interval(weight_ratio, rows, generator)

    expressive = (observed.intensities * ~noise).any(axis=1)
    for name, given in (("intensity", weights), ("intensity by place", by_place)):
        rows = zip(given[expressive], observed.intensities[expressive], ~noise[expressive], strict=True)
        correlations = np.array([rank_correlation(weight[on], true[on]) for weight, true, on in rows])
        figures[name] = with_interval(np.mean, (correlations,), generator)

    own = observed.probabilities.argmax(axis=1) == labels
    of_frames = observed.frame_probabilities.mean(axis=1).argmax(axis=1) == labels
    figures["accuracy"] = with_interval(np.mean, (own,), generator)
    figures["accuracy of frames"] = with_interval(np.mean, (of_frames,), generator)
    figures["accuracy gained"] = with_interval(np.mean, (own.astype(int) - of_frames,), generator)
    return figures
