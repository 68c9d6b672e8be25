"""Batches of a real corpus, read from its cache of face crops."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dfer_hf.faces.video_processing_dfer import DferVideoProcessor, to_luma
from dfer_hf.taxonomy import Emotion
from dfer_hf.video.sampling import jittered_indices, segment_indices
from training.cache.prepared import PreparedClips
from training.config import Augmentation, Sampling
from training.datasets.corpus import Clip
from training.feed.clip_augment import augment_clip


@dataclass(frozen=True)
class Sample:
    """What one label stands for.

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
        ValueError: If the cache knows nothing of a clip, as when it was made from another corpus.
    """
    found, left_out = [], Counter()
    for clip in clips:
        if clip.name in prepared:
            found.append(clip)
        elif clip.name in prepared.errors:
            left_out[prepared.errors[clip.name].split(":")[0]] += 1
        else:
            raise ValueError(
                f"Expected clip {clip.name!r} in the cache, but it was never prepared. "
                "Run training/prepare.py on the whole corpus, or finish the run that was stopped."
            )
    return found, dict(left_out)


def list_samples(clips: Sequence[Clip], label_names: Sequence[Emotion]) -> list[Sample]:
    """List what can be learnt from: clips, and the labelled frames of clips whose frames are labelled one by one."""
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


class ClipSource:
    """Clips of a corpus as batches.

    Args:
        samples: What to show; see `list_samples`.
        label_names: Classes in the order of the labels.
        prepared: The cache.
        processor: What inference does to crops: scaling, normalisation, grey.
        sampling: Which frames of a clip are looked at.
        augmentation: What training changes.
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
        share = torch.bincount(self.labels, minlength=len(label_names)) / len(samples)
        self.sampling_weights = share[self.labels].double() ** -balance

    @property
    def names(self) -> list[str]:
        """Name of each sample; of a labelled frame with its place in the clip."""
        return [
            sample.name if sample.frame is None else f"{sample.name}#{sample.frame}"
            for sample in self.samples
        ]

    @property
    def persons(self) -> list[str | None]:
        """Who is seen in each sample."""
        return [sample.person for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Random frames and views of the samples at `indices`; `strength` does nothing here."""
        del strength
        clips = []
        for index in indices.tolist():
            frames = self._read(index, generator).float() / 255
            frames = augment_clip(frames, size, self.augmentation, generator)
            clips.append(to_luma(frames) if self.processor.do_grayscale else frames)
        mean, std = (
            torch.tensor(values)[:, None, None]
            for values in (self.processor.image_mean, self.processor.image_std)
        )
        return {
            "pixel_values_videos": (torch.stack(clips) - mean) / std,
            "labels": self.labels[indices],
        }

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """The middle frames of the samples at `indices`, as inference sees them."""
        clips = [self._read(index, None) for index in indices.tolist()]
        side = {"height": size, "width": size}
        pixel_values = self.processor(clips, size=side, return_tensors="pt")["pixel_values_videos"]
        return {"pixel_values_videos": pixel_values, "labels": self.labels[indices]}

    def _read(self, index: int, generator: torch.Generator | None) -> torch.Tensor:
        """Crops of a sample, uint8 of shape `(num_frames, 3, 112, 112)`."""
        sample = self.samples[index]
        places = (
            np.array([sample.frame]) if sample.frame is not None else self._places(sample.name, generator)
        )
        return torch.from_numpy(self.prepared.read(sample.name, places)).permute(0, 3, 1, 2)

    def _places(self, name: str, generator: torch.Generator | None) -> np.ndarray:
        """Frames of a clip to look at: random ones of a generator, or the middle ones."""
        num_frames, sampling = self.prepared.num_frames(name), self.sampling
        draws = None
        if generator is not None:
            draws = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        if sampling.jitter_frames:
            length = sampling.num_segments * sampling.frames_per_segment
            return jittered_indices(num_frames, length, jitter=sampling.jitter_frames, generator=draws)
        return segment_indices(
            num_frames,
            num_segments=sampling.num_segments,
            frames_per_segment=sampling.frames_per_segment,
            generator=draws,
        )
