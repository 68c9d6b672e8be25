"""Give a face an entry for every frame of a video of which only some were analysed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .prediction import FramePrediction, Scores


def fill_between(
    seen: Sequence[FramePrediction], *, analysed: Sequence[int], times: Sequence[float]
) -> tuple[FramePrediction, ...]:
    """Complete what was seen of a face to every frame from its first to its last.

    A skipped frame lies between two analysed ones. Where the face was seen in both, box, points, scores and weight are
    interpolated linearly; where it was missing from one, the frame has no face. Frames after the last analysed one of
    the video repeat it. The weights sum to 1 again afterwards.

    Args:
        seen: The face in the analysed frames that show it, by rising frame index.
        analysed: Indices of the frames that were analysed, rising.
        times: Time in seconds of every frame of the video.

    Returns:
        One entry per frame; those without a face have no box and no scores.
    """
    by_index = {frame.frame_index: frame for frame in seen}
    last = seen[-1].frame_index
    end = len(times) if last == analysed[-1] else last + 1
    indices = range(seen[0].frame_index, end)
    frames = []
    for index, after in zip(indices, np.searchsorted(analysed, indices).tolist(), strict=True):
        if after == len(analysed):
            frames.append(_at(by_index[last], index, times[index]))
        elif analysed[after] == index:
            frames.append(by_index.get(index) or FramePrediction(index, times[index]))
        else:
            first, second = by_index.get(analysed[after - 1]), by_index.get(analysed[after])
            if first is None or second is None:
                frames.append(FramePrediction(index, times[index]))
            else:
                frames.append(_between(first, second, index, times[index]))
    total = sum(frame.weight for frame in frames)
    return tuple(replace(frame, weight=frame.weight / total) for frame in frames)


def _at(frame: FramePrediction, index: int, time_seconds: float) -> FramePrediction:
    return replace(frame, frame_index=index, time_seconds=time_seconds, is_interpolated=True)


def _between(
    first: FramePrediction, second: FramePrediction, index: int, time_seconds: float
) -> FramePrediction:
    span = second.time_seconds - first.time_seconds
    share = (time_seconds - first.time_seconds) / span if span > 0 else 0.5
    nearer = first if share <= 0.5 else second
    box = None
    if first.box is not None and second.box is not None:
        left, top, right, bottom = (
            one + share * (other - one) for one, other in zip(first.box, second.box, strict=True)
        )
        box = (left, top, right, bottom)
    points = None
    if first.points is not None and second.points is not None:
        points = first.points + np.float32(share) * (second.points - first.points)
    return replace(
        _at(nearer, index, time_seconds),
        box=box,
        points=points,
        fine=_mixed(first.fine, second.fine, share),
        coarse=_mixed(first.coarse, second.coarse, share),
        weight=first.weight + share * (second.weight - first.weight),
    )


def _mixed(first: Scores | None, second: Scores | None, share: float) -> Scores | None:
    if first is None or second is None:
        return None
    others: Mapping[str, float] = second.probabilities
    return Scores({label: one + share * (others[label] - one) for label, one in first.probabilities.items()})
