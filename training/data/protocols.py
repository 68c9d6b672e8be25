"""The interfaces that training and evaluation expect of every source of clips, frames or stills."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch


class Source(Protocol):
    """Clips with one label each; sources of corpora have `names`, `label_names` and perhaps `persons` as well."""

    labels: torch.Tensor

    def __len__(self) -> int: ...

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """The clips at `indices` as inference sees them: `pixel_values_videos` and more."""
        ...


class TrainingSource(Source, Protocol):
    """A source that can also draw random views for training.

    Args:
        sampling_weights: How often weighted sampling draws each sample, `(count,)`.
    """

    sampling_weights: torch.Tensor

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Random views of samples: `pixel_values_videos` (count, num_frames, 3, size, size) and `labels`."""
        ...


class InOrderSource(Protocol):
    """Clips that are too long for a batch, or each of a length of its own, which are shown whole, part by part.

    Args:
        in_order: Which indices of the source these are, `(len(source),)`.
    """

    in_order: torch.Tensor

    def parts(self, index: int, size: int) -> Iterator[torch.Tensor]:
        """Frames of the clip in order, `(1, num_frames, 3, size, size)` a part."""
        ...

    def frames_per_second(self, index: int) -> float | None:
        """Return the rate of the clip."""
        ...


@runtime_checkable
class FrameSource(Protocol):
    """Videos whose frames are labelled one by one, cut into windows; an index of `batch` is a window.

    Args:
        names: Of the videos.
        frame_labels: Label of each frame of each video, `(num_frames,)` long; -1 for a frame without one.
        window_videos: Which video each window is of, `(num_windows,)`.
        window_frames: Which frame of its video each place of each window holds, `(T,)` each. Windows may overlap, and
            a frame may be twice in one that is longer than its video. Every labelled frame is in some window.
        label_names: Classes in the order of the labels.
    """

    names: Sequence[str]
    frame_labels: Sequence[torch.Tensor]
    window_videos: torch.Tensor
    window_frames: Sequence[torch.Tensor]
    label_names: Sequence[str]

    def __len__(self) -> int: ...

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """The windows at `indices` as inference sees them: `pixel_values_videos` and more."""
        ...
