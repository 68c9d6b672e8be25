"""Draw the samples of an epoch: in which order they come, and how often each."""

import torch

from training.config import TrainConfig


def balanced_weights(labels: torch.Tensor, balance: float) -> torch.Tensor:
    """Weights of `weighted`, which draws a class of share `p` in proportion to `p^(1 - balance)`, `(count,)`."""
    shares = labels.bincount().double() / len(labels)
    return shares[labels] ** -balance


def repeat_factors(labels: torch.Tensor, threshold: float) -> torch.Tensor:
    """Compute how often repeat-factor sampling shows each sample in an epoch, `(count,)` of whole numbers.

    A class with share `f` below the threshold `t` is shown `ceil(sqrt(t / f))` times: the rule of LVIS (Gupta et al.
    2019, Sec. 4.2) as CFC-SP uses it, rounded up as in the data wrapper of its authors' code.
    """
    counts = torch.bincount(labels)
    shares = counts / counts.sum()
    return (threshold / shares).sqrt().clamp_min(1).ceil()[labels].long()


def epoch_length(labels: torch.Tensor, config: TrainConfig) -> int:
    """Return the number of samples of an epoch: the recipe's, or that of one round of its sampler."""
    if config.epoch_length is not None:
        return config.epoch_length
    if config.sampler == "repeat_factor":
        return int(repeat_factors(labels, config.repeat_threshold).sum())
    return len(labels)


def epoch_indices(
    labels: torch.Tensor, sampling_weights: torch.Tensor, config: TrainConfig, generator: torch.Generator
) -> torch.Tensor:
    """Draw the samples of one epoch.

    `shuffle` shows every sample once in random order, `repeat_factor` as often as `repeat_factors` says, `weighted`
    draws with replacement by the weights. Where `epoch_length` is given, so many are taken.

    Args:
        labels: Class of each sample, `(count,)`.
        sampling_weights: Of `weighted`, `(count,)`.
        config: The run.
        generator: Source of randomness.

    Returns:
        Indices of the samples, `(epoch_length,)`.
    """
    length = epoch_length(labels, config)
    if config.sampler == "weighted":
        return torch.multinomial(sampling_weights, length, replacement=True, generator=generator)
    samples = torch.arange(len(labels))
    if config.sampler == "repeat_factor":
        samples = samples.repeat_interleave(repeat_factors(labels, config.repeat_threshold))
    rounds = -(-length // len(samples))
    drawn = [samples[torch.randperm(len(samples), generator=generator)] for _ in range(rounds)]
    return torch.cat(drawn)[:length]
