"""Read batches of a dataset of clips from its cache of face crops."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dfer_hf.faces.video_processing_dfer import DferVideoProcessor, to_luma
from dfer_hf.video.sampling import Sampling, frame_rate
from training.cache.prepared import PreparedClips
from training.config import Augmentation
from training.data.clip_transforms import augment_clip
from training.data.normalise import normalise
from training.data.samplers import balanced_weights
from training.datasets.corpus import Clip

FRAMES_PER_PART = 64


@dataclass(frozen=True)
class Sample:
    """The clip or the frame that one label belongs to.

    Args:
        name: Clip in the cache.
        label: Index of its class.
        frame: The one frame that has the label; None for the whole clip.
        person: Who is seen, where it is known.
    """

    name: str
    label: int
    frame: int | None = None
    person: str | None = None


def find_prepared(clips: Sequence[Clip], prepared: PreparedClips) -> tuple[list[Clip], dict[str, int]]:
    """Find the clips that are in the cache.

    Returns:
        The clips, and how many others could not be prepared, by the reason the cache gives.

    Raises:
        ValueError: If the cache has no record of a clip, for example because it was made from another dataset.
    """
    for clip in clips:
        if clip.name not in prepared and clip.name not in prepared.errors:
            raise ValueError(
                f"Expected clip {clip.name!r} in the cache, but it was never prepared. "
                "Run python -m training.prepare on the whole corpus, or finish the run that was stopped."
            )
    return [clip for clip in clips if clip.name in prepared], count_failures(clips, prepared)


def count_failures(clips: Sequence[Clip], prepared: PreparedClips) -> dict[str, int]:
    """Count the clips that could not be prepared, by the reason the cache gives."""
    return dict(Counter(prepared.errors[clip.name].split(":")[0] for clip in clips if clip.name in prepared.errors))


def list_samples(clips: Sequence[Clip], label_names: Sequence[str]) -> list[Sample]:
    """List the samples to learn from: clips, or the labelled frames of clips whose frames are labelled one by one."""
    index_of = {name: index for index, name in enumerate(label_names)}
    samples = []
    for clip in clips:
        if clip.frame_labels is None and clip.label is not None:
            samples.append(Sample(clip.name, index_of[clip.label], person=clip.person))
        else:
            samples += [
                Sample(clip.name, index_of[label], frame, clip.person)
                for frame, label in enumerate(clip.frame_labels or ())
                if label is not None
            ]
    return samples


def read_parts(
    prepared: PreparedClips, processor: DferVideoProcessor, name: str, frames: np.ndarray, size: int
) -> Iterator[torch.Tensor]:
    """Read the frames of a clip as inference sees them, a few at a time, `(1, num_frames, 3, size, size)` each."""
    for start in range(0, len(frames), FRAMES_PER_PART):
        crops = torch.from_numpy(prepared.read(name, frames[start : start + FRAMES_PER_PART]))
        side = {"height": size, "width": size}
        inputs = processor([crops.permute(0, 3, 1, 2)], size=side, return_tensors="pt")
        yield inputs["pixel_values_videos"]


class ClipSource:
    """Clips of a dataset as batches.

    Args:
        samples: The samples; see `list_samples`.
        label_names: Classes in the order of the labels.
        prepared: The cache.
        processor: What inference does to crops: scaling, normalisation, grey.
        sampling: Which frames of a clip are read.
        augmentation: Random changes in training.
        balance: Exponent of the sampling weight: a class with share `p` is drawn in proportion to `p^(1 - balance)`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        label_names: Sequence[str],
        prepared: PreparedClips,
        processor: DferVideoProcessor,
        *,
        sampling: Sampling,
        augmentation: Augmentation,
        balance: float = 0.0,
    ) -> None:
        if not samples:
            raise ValueError("Expected clips with a label, got none. See what the cache's index.csv says.")
        self.samples, self.label_names = list(samples), [str(name) for name in label_names]
        self.prepared, self.processor = prepared, processor
        self.sampling, self.augmentation = sampling, augmentation
        self.labels = torch.tensor([sample.label for sample in samples])
        self.sampling_weights = balanced_weights(self.labels, balance)
        # Whole clips, of which each has a length of its own.
        self.in_order = torch.tensor(
            [sampling.every_frame and sample.frame is None for sample in self.samples], dtype=torch.bool
        )

    @property
    def names(self) -> list[str]:
        """Name of each sample; of a labelled frame with its place in the clip."""
        return [sample.name if sample.frame is None else f"{sample.name}#{sample.frame}" for sample in self.samples]

    @property
    def persons(self) -> list[str | None]:
        """Who is seen in each sample."""
        return [sample.person for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Draw random frames and views of the samples at `indices`; `strength` has no effect here."""
        del strength
        clips = [
            augment_clip(self._read(index, generator), size, self.augmentation, generator)
            for index in indices.tolist()
        ]
        pixels = torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3)
        pixel_values = torch.empty(pixels.shape).copy_(pixels)
        if self.processor.do_grayscale:
            pixel_values = to_luma(pixel_values)
        pixel_values = normalise(pixel_values, self.processor.image_mean, self.processor.image_std, white=255)
        return {"pixel_values_videos": pixel_values, "labels": self.labels[indices]}

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """Return the middle frames of the samples at `indices`, as inference sees them."""
        clips = [torch.from_numpy(self._read(index, None)).permute(0, 3, 1, 2) for index in indices.tolist()]
        side = {"height": size, "width": size}
        pixel_values = self.processor(clips, size=side, return_tensors="pt")["pixel_values_videos"]
        return {"pixel_values_videos": pixel_values, "labels": self.labels[indices]}

    def parts(self, index: int, size: int) -> Iterator[torch.Tensor]:
        """Read a whole clip in order, part by part, `(1, num_frames, 3, size, size)` each."""
        name = self.samples[index].name
        yield from read_parts(self.prepared, self.processor, name, self.prepared.frames_with_face(name), size)

    def frames_per_second(self, index: int) -> float | None:
        """Return the rate of a clip's frames."""
        return frame_rate(self.prepared.seconds(self.samples[index].name))

    def _read(self, index: int, generator: torch.Generator | None) -> np.ndarray:
        """Read crops of a sample, uint8 of shape `(num_frames, 112, 112, 3)`."""
        sample = self.samples[index]
        places = np.array([sample.frame]) if sample.frame is not None else self._places(sample.name, generator)
        return self.prepared.read(sample.name, places)

    def _places(self, name: str, generator: torch.Generator | None) -> np.ndarray:
        """Choose frames of a clip among those that show its face: random ones with a generator, or the middle ones."""
        draws = None
        if generator is not None:
            draws = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        seen = self.prepared.frames_with_face(name)
        return seen[self.sampling.indices(len(seen), generator=draws)]
