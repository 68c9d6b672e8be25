"""What a training run is made of, read from a TOML recipe."""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class HeadStart:
    """Training of what follows a trunk that stands still, before everything is trained together.

    Args:
        num_steps: Optimiser steps.
        batch_size: Clips of a step.
        num_views: Stored random views of each still.
        learning_rate: At the start; it falls to zero.
        weight_decay: On all weights.
    """

    num_steps: int
    batch_size: int
    num_views: int
    learning_rate: float
    weight_decay: float = 0.05


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Args:
        system: Model type without the prefix, such as `aen`.
        model: Fields of its configuration that differ from the paper's.
        data: `ferplus_stills` or `ferplus_clips`.
        stages: Image size, number of epochs and strength of the augmentation, in order: small pictures first is
            cheaper, and the last epochs see faces nearer to what inference sees.
        epoch_length: Samples of an epoch.
        batch_size: Samples of a step, over all processes together.
        learning_rate: Peak of the schedule: linear warm-up, then cosine to zero.
        warmup_share: Share of all steps that warms up.
        weight_decay: On weights of more than one dimension.
        optimiser: `sgd` (Nesterov momentum 0.9) or `adamw`.
        ema_decay: Of the average of the weights that is kept.
        balance: Exponent of class balancing; see the data.
        initialise_from: Checkpoint folder whose weights start this run: a still-image one for `aen`.
        trunk_learning_rate_share: Factor on the learning rate of a trunk that starts from `initialise_from`.
        head_start: Training of the other parts beforehand; for `aen` on clips.
        seed: Of everything random.
    """

    system: str
    data: str
    stages: tuple[tuple[int, int, float], ...]
    epoch_length: int
    batch_size: int
    learning_rate: float
    model: dict[str, Any] = field(default_factory=dict)
    warmup_share: float = 0.05
    weight_decay: float = 5e-4
    optimiser: str = "sgd"
    ema_decay: float = 0.998
    balance: float = 0.0
    initialise_from: str | None = None
    trunk_learning_rate_share: float = 1.0
    head_start: HeadStart | None = None
    seed: int = 0

    @property
    def num_epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(epochs for _, epochs, _ in self.stages)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return max(1, self.epoch_length // self.batch_size)

    def stage(self, epoch: int) -> tuple[int, float]:
        """Side in pixels of the pictures of an epoch, counted from 0, and strength of their augmentation."""
        for size, epochs, strength in self.stages:
            if epoch < epochs:
                return size, strength
            epoch -= epochs
        raise ValueError(
            f"Expected an epoch below {self.num_epochs}, got one {epoch} beyond. Lengthen `stages`."
        )


def load_config(path: Path) -> TrainConfig:
    """Read a recipe.

    Raises:
        ValueError: If it holds a key that is not known, or lacks one that is needed.
    """
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    known = {entry.name: entry for entry in dataclasses.fields(TrainConfig)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{path.name} has unknown keys {unknown}; known are {sorted(known)}.")
    values["stages"] = tuple(tuple(stage) for stage in values.get("stages", ()))
    needed = sorted(
        name
        for name, entry in known.items()
        if entry.default is dataclasses.MISSING
        and entry.default_factory is dataclasses.MISSING
        and not values.get(name)
    )
    if needed:
        raise ValueError(f"{path.name} lacks {needed}.")
    if "head_start" in values:
        try:
            values["head_start"] = HeadStart(**values["head_start"])
        except TypeError as error:
            raise ValueError(f"{path.name} has a [head_start] that cannot be read: {error}.") from error
    return TrainConfig(**values)
