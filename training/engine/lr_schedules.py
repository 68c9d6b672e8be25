"""The schedule of the learning rate, as a factor on its peak."""

import math

from training.config import Schedule

KINDS = ("cosine", "step", "exponential", "constant")


def learning_rate_factor(schedule: Schedule, step: int, *, num_epochs: int, steps_per_epoch: int) -> float:
    """Return the factor at an optimiser step, counted from 0.

    Raises:
        ValueError: If the schedule's kind is unknown, or it warms up in two ways.
    """
    if schedule.kind not in KINDS:
        raise ValueError(f"Expected the schedule's `kind` to be one of {', '.join(KINDS)}, got {schedule.kind!r}.")
    if schedule.warmup_share and schedule.warmup_epochs:
        raise ValueError("Expected `warmup_share` or `warmup_epochs`, got both. Take one out of the schedule.")
    total_steps = num_epochs * steps_per_epoch
    warmup_steps = int(total_steps * schedule.warmup_share or steps_per_epoch * schedule.warmup_epochs)
    step = max(0, step - schedule.delay)
    if step < warmup_steps:
        start = schedule.warmup_start
        return (step + 1) / warmup_steps if start is None else start + (1 - start) * step / warmup_steps
    epoch = step // steps_per_epoch
    if schedule.kind == "step":
        return schedule.decay ** sum(epoch >= milestone for milestone in schedule.milestones)
    if schedule.kind == "exponential":
        return schedule.decay**epoch
    if schedule.kind == "constant":
        return 1.0
    passed = 0 if schedule.cosine_counts_warmup else warmup_steps
    gone = (step - passed) / max(1, total_steps - passed)
    return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * gone))
