"""Read whole videos whose frames are labelled one by one, for evaluation."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dfer_hf.faces.video_processing_dfer import DferVideoProcessor
from dfer_hf.video.sampling import frame_rate, sliding_windows
from training.cache.prepared import PreparedClips
from training.data.clip_dataset import read_parts
from training.datasets.corpus import Clip

NO_LABEL = -1


class VideoFrames:
    """Videos cut into windows; see `training.data.protocols.FrameSource`.

    Args:
        clips: Videos with `frame_labels` that are in the cache.
        label_names: Classes in the order of the labels.
        prepared: The cache.
        processor: What inference does to crops.
        window: Frames that a model predicts together; None for one that reads whole videos, such as CFC-SP, which
            smooths its answers over many frames.

    Raises:
        ValueError: If a video has another number of labels than of frames in the cache.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        label_names: Sequence[str],
        prepared: PreparedClips,
        processor: DferVideoProcessor,
        *,
        window: int | None,
    ) -> None:
        self.prepared, self.processor = prepared, processor
        self.label_names: Sequence[str] = [str(name) for name in label_names]
        index_of = {name: index for index, name in enumerate(label_names)}
        names, frame_labels, window_videos, window_frames = [], [], [], []
        for clip in clips:
            labels = [NO_LABEL if label is None else index_of[label] for label in clip.frame_labels or ()]
            num_frames = prepared.num_frames(clip.name)
            if len(labels) != num_frames:
                raise ValueError(
                    f"Expected {len(labels)} frames of {clip.name!r} in the cache, one for each label, got "
                    f"{num_frames}. Prepare the corpus again: its frames have changed since."
                )
            rows = np.arange(num_frames)[None]
            if window is not None:
                rows = sliding_windows(num_frames, window=window, stride=window)
            window_videos += [len(names)] * len(rows)
            window_frames += [torch.from_numpy(row) for row in rows]
            names.append(clip.name)
            frame_labels.append(torch.tensor(labels, dtype=torch.long))
        self.names: Sequence[str] = names
        self.frame_labels: Sequence[torch.Tensor] = frame_labels
        self.window_frames: Sequence[torch.Tensor] = window_frames
        self.window_videos = torch.tensor(window_videos, dtype=torch.long)
        self.in_order = torch.full((len(window_frames),), window is None)

    def __len__(self) -> int:
        return len(self.window_frames)

    def parts(self, index: int, size: int) -> Iterator[torch.Tensor]:
        """Read a whole video in order, part by part, `(1, num_frames, 3, size, size)` each."""
        name, frames = self.names[int(self.window_videos[index])], self.window_frames[index].numpy()
        yield from read_parts(self.prepared, self.processor, name, frames, size)

    def frames_per_second(self, index: int) -> float | None:
        """Return the rate of a video's frames."""
        return frame_rate(self.prepared.seconds(self.names[int(self.window_videos[index])]))

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """Return the windows at `indices`, which must be equally long, as inference sees them."""
        clips = []
        for index in indices.tolist():
            name = self.names[int(self.window_videos[index])]
            crops = self.prepared.read(name, self.window_frames[index].numpy())
            clips.append(torch.from_numpy(crops).permute(0, 3, 1, 2))
        side = {"height": size, "width": size}
        return dict(self.processor(clips, size=side, return_tensors="pt"))
