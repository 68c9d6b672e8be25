"""Two small training runs, and functions that interrupt a run and read its log."""

import csv
import dataclasses

import training.train
from training.config import Schedule, TrainConfig

TRUNK = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1]}
STILLS = TrainConfig(
    system="frame_resnet",
    data="ferplus_stills",
    stages=((32, 1, 1.0), (40, 1, 0.5)),
    epoch_length=24,
    batch_size=8,
    learning_rate=0.05,
    nesterov=True,
    weight_decay=5e-4,
    gradient_clip=5.0,
    ema_decay=0.5,
    sampler="weighted",
    balance=0.25,
    select="last",
    schedule=Schedule(warmup_share=0.05),
    model=TRUNK | {"classifier_dropout": 0.2},
)
CLIPS = dataclasses.replace(
    STILLS,
    system="aen",
    data="ferplus_clips",
    epoch_length=4,
    batch_size=2,
    learning_rate=0.001,
    optimiser="adamw",
    trunk_learning_rate_share=0.1,
    model=TRUNK | {"temporal_layers": 1, "temporal_heads": 2, "temporal_head_dim": 4},
)


class StoppedError(Exception):
    """Interrupts a run in the middle of an epoch."""


def stop_after(monkeypatch, num_batches):
    """Interrupt a run, as a power cut would, once it has used a number of batches."""
    used = []
    clip = training.train.Accelerator.clip_grad_norm_

    def clip_or_stop(self, *args, **kwargs):
        used.append(1)
        if len(used) > num_batches:
            raise StoppedError
        return clip(self, *args, **kwargs)

    monkeypatch.setattr(training.train.Accelerator, "clip_grad_norm_", clip_or_stop)


def log_of(output):
    """Read the rows of the log without the columns that depend on time."""
    timed = ("seconds", "loader_share", "clips_per_second")
    with (output / "log.csv").open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name not in timed} for row in csv.DictReader(file)]
