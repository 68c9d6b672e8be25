"""A source in memory, small enough to train and measure in a moment, and predictions to measure without a model."""

import numpy as np
import torch

from training.evaluation.predict import Predictions

SEVEN = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
GROUPS = {
    "positive": ("happiness", "surprise"),
    "neutral": ("neutral",),
    "negative": ("sadness", "anger", "disgust", "fear"),
}


class SmallSource:
    """Random clips with names, whose labels follow `label_names`."""

    def __init__(self, count, *, num_frames=1, label_names=SEVEN, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.clips = torch.randn(count, num_frames, 3, 40, 40, generator=generator)
        self.labels = torch.arange(count) % len(label_names)
        self.label_names = label_names
        self.names = [f"clip-{index:03d}" for index in range(count)]
        self.asked = []

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, size):
        self.asked.append((indices.tolist(), size))
        return {"pixel_values_videos": self.clips[indices][..., :size, :size], "labels": self.labels[indices]}


def random_predictions(count=60, *, seed=0, names=None, label_names=SEVEN, groups=GROUPS, **fields):
    """Make predictions of which about half are right; coarse answers sometimes contradict the fine ones."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(label_names), count)
    logits = rng.normal(0, 1, (count, len(label_names)))
    logits[np.arange(count), labels] += 1.5
    coarse = np.log(rng.dirichlet(np.ones(len(groups)), count))
    return Predictions(
        names=tuple(f"clip-{seed}-{index}" for index in range(count)) if names is None else names,
        labels=labels,
        logits=logits.astype(np.float32),
        coarse_logits=coarse.astype(np.float32),
        label_names=label_names,
        groups=groups,
        **fields,
    )
