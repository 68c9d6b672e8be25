"""Which frames of a video make up a clip: pure arithmetic on frame indices; copied to the Hub."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sampling:
    """Which frames of a face a system looks at: the one rule for training, evaluation, files and videos.

    Args:
        num_segments: U of the papers: equal segments that a clip is cut into.
        frames_per_segment: V of the papers: neighbouring frames of each segment.
        jitter_frames: Instead of a place in each segment, its start and up to so many frames more, as the code of
            M3DFEL has it in training; 0 for the papers' way.
        every_frame: Whether all frames are looked at, in order, except in training: for systems that learn from single
            frames, such as CFC-SP.
    """

    num_segments: int = 8
    frames_per_segment: int = 2
    jitter_frames: int = 0
    every_frame: bool = False

    @property
    def num_frames(self) -> int:
        """Frames of a clip, where not every frame is taken."""
        return self.num_segments * self.frames_per_segment

    def indices(self, num_video_frames: int, *, generator: np.random.Generator | None = None) -> np.ndarray:
        """Pick the frames of a clip: random ones of a generator, as in training, or the middle ones.

        Returns:
            Frame indices of shape `(num_frames,)`, or `(num_video_frames,)` where every frame is taken.

        Raises:
            ValueError: If a count is not positive.
        """
        if self.every_frame and generator is None:
            return np.arange(num_video_frames)
        if self.jitter_frames:
            return jittered_indices(num_video_frames, self.num_frames, jitter=self.jitter_frames, generator=generator)
        return segment_indices(
            num_video_frames,
            num_segments=self.num_segments,
            frames_per_segment=self.frames_per_segment,
            generator=generator,
        )

    def views(self, num_video_frames: int, *, every: int) -> np.ndarray:
        """Pick further clips of the same kind, so that frames between those of the first are looked at too.

        Args:
            num_video_frames: Frames there are.
            every: One frame in so many is looked at in the mean; with 1, none is left out.

        Returns:
            Frame indices of shape `(num_views, num_frames)`; the first row is `indices(num_video_frames)`.

        Raises:
            ValueError: If a count is not positive.

        >>> Sampling(num_segments=2, frames_per_segment=2).views(16, every=2)
        array([[ 3,  4, 11, 12],
               [ 0,  1,  7,  8]])
        """
        _require_positive(every=every)
        first = self.indices(num_video_frames)
        num_starts = num_video_frames - self.frames_per_segment + 1
        if self.every_frame or num_video_frames <= self.num_frames:
            return first[None]
        for num_views in range(-(-num_video_frames // (every * self.num_frames)), num_starts + 1):
            rows = [first, *self._shifted(num_starts, num_views)]
            if every > 1 or len(np.unique(rows)) == num_video_frames:
                break
        return np.stack(rows)

    def _shifted(self, num_starts: int, num_views: int) -> Iterator[np.ndarray]:
        """Clips whose runs start further on in each segment than those in the middle, by equal steps."""
        segments = np.arange(self.num_segments)[:, None]
        for view in range(1, num_views):
            place = (0.5 + view / num_views) % 1
            starts = ((segments + place) * num_starts / self.num_segments).astype(int)
            yield np.sort((starts + np.arange(self.frames_per_segment)).ravel())


def frame_rate(seconds: Sequence[float] | np.ndarray) -> float | None:
    """Frames a second of frames at these times, `(num_frames,)`; None where a single frame or equal times say nothing.

    It is the rate of most frames, which gaps between them do not change.

    >>> frame_rate([0.0, 0.25, 0.5, 4.0])
    4.0
    """
    steps = np.diff(seconds)
    step = float(np.median(steps)) if len(steps) else 0.0
    return 1 / step if step > 0 else None


def uniform_indices(num_video_frames: int, num_clip_frames: int) -> np.ndarray:
    """Pick the middle frame of each of `num_clip_frames` equal segments.

    Returns:
        Sorted frame indices of shape `(num_clip_frames,)`; they repeat when the video is shorter.

    Raises:
        ValueError: A count is not positive.

    >>> uniform_indices(32, 4)
    array([ 4, 12, 20, 28])
    >>> uniform_indices(2, 4)
    array([0, 0, 1, 1])
    """
    _require_positive(num_video_frames=num_video_frames, num_clip_frames=num_clip_frames)
    segments = np.arange(num_clip_frames)
    return (2 * segments + 1) * num_video_frames // (2 * num_clip_frames)


def segment_indices(
    num_video_frames: int, *, num_segments: int, frames_per_segment: int, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Pick a run of neighbouring frames in each equal segment, as Former-DFER samples clips.

    The starts that a run can have are cut into equal segments, and one is taken from each. The published code
    gives up on videos of up to `num_segments + frames_per_segment - 1` frames and repeats the first ones;
    here a video no longer than the clip is used whole, its frames repeated evenly.

    Args:
        num_segments: U in the papers.
        frames_per_segment: V in the papers.
        generator: Draws each start from its segment, as in training; without it the middle one is taken, as
            in testing.

    Returns:
        Sorted frame indices of shape `(num_segments * frames_per_segment,)`.

    Raises:
        ValueError: A count is not positive.

    >>> segment_indices(32, num_segments=4, frames_per_segment=2)
    array([ 3,  4, 11, 12, 19, 20, 27, 28])
    >>> segment_indices(8, num_segments=4, frames_per_segment=2)
    array([0, 1, 2, 3, 4, 5, 6, 7])
    >>> segment_indices(4, num_segments=4, frames_per_segment=2)
    array([0, 0, 1, 1, 2, 2, 3, 3])
    """
    _require_positive(
        num_video_frames=num_video_frames, num_segments=num_segments, frames_per_segment=frames_per_segment
    )
    num_clip_frames = num_segments * frames_per_segment
    if num_video_frames <= num_clip_frames:
        return uniform_indices(num_video_frames, num_clip_frames)
    num_starts = num_video_frames - frames_per_segment + 1
    if generator is None:
        starts = uniform_indices(num_starts, num_segments)
    else:
        bounds = np.arange(num_segments + 1) * num_starts // num_segments
        starts = generator.integers(bounds[:-1], bounds[1:])
    return np.sort((starts[:, None] + np.arange(frames_per_segment)).ravel())


def jittered_indices(
    num_video_frames: int, num_clip_frames: int, *, jitter: int, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Pick evenly spaced frames, each moved on by up to `jitter - 1` frames, as M3DFEL's code samples clips.

    That code also moves them in testing, so that its figures change from run to run; here, without a generator, the
    frames are those of `uniform_indices`.

    Returns:
        Frame indices of shape `(num_clip_frames,)`, in the order of the segments they start from; in a long jitter a
        frame may come before the one before it.

    Raises:
        ValueError: A count is not positive.

    >>> jittered_indices(32, 4, jitter=1, generator=np.random.default_rng(0))
    array([ 0,  8, 16, 24])
    >>> jittered_indices(32, 4, jitter=16)
    array([ 4, 12, 20, 28])
    """
    _require_positive(num_video_frames=num_video_frames, num_clip_frames=num_clip_frames, jitter=jitter)
    if generator is None:
        return uniform_indices(num_video_frames, num_clip_frames)
    starts = np.arange(num_clip_frames) * num_video_frames // num_clip_frames
    return np.minimum(starts + generator.integers(jitter, size=num_clip_frames), num_video_frames - 1)


def sliding_windows(num_frames: int, *, window: int, stride: int) -> np.ndarray:
    """Cut a video into overlapping windows that reach from the first frame to the last.

    Returns:
        Frame indices of shape `(num_windows, window)`. The last window is moved back to end with the video; a
        video shorter than the window gives one window, with frames repeated evenly.

    Raises:
        ValueError: A count is not positive.

    >>> sliding_windows(7, window=4, stride=2)
    array([[0, 1, 2, 3],
           [2, 3, 4, 5],
           [3, 4, 5, 6]])
    """
    _require_positive(num_frames=num_frames, window=window, stride=stride)
    if num_frames <= window:
        return uniform_indices(num_frames, window)[None]
    last_start = num_frames - window
    starts = np.minimum(np.arange(0, last_start + stride, stride), last_start)
    return starts[:, None] + np.arange(window)


def _require_positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"Expected {name} of at least 1, got {count}; check that the video has frames.")
