"""Cut off the part of the training clips that chooses the best epoch."""

from collections.abc import Sequence

import numpy as np

from training.data.clip_dataset import Sample


def cut_validation(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Cut a part of the training samples off to choose the epoch by: classes in proportion, people and videos whole.

    Groups of samples that belong together are drawn at random, and a group is taken if it brings the part nearer to
    its share of every class. A class of several groups has a sample in both parts, however small its share is.

    Returns:
        Samples to learn from, and samples to choose the epoch by, in the order they came in.

    Raises:
        ValueError: If the share is not between 0 and 0.5, or there are not enough groups to cut one off.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"Expected `validation_share` above 0 and up to 0.5, got {share}.")
    number_of: dict[str, int] = {}
    group_of = np.array([number_of.setdefault(sample.person or sample.name, len(number_of)) for sample in samples])
    labels = np.array([sample.label for sample in samples])
    num_groups, num_classes = len(number_of), int(labels.max(initial=-1)) + 1
    flat = np.bincount(group_of * num_classes + labels, minlength=num_groups * num_classes)
    counts = flat.reshape(num_groups, num_classes)
    total = counts.sum(axis=0)
    # A class of one group can only be learnt from; every other class needs a sample to choose by.
    target = np.where((counts > 0).sum(axis=0) > 1, np.maximum(total * share, 1), 0)
    weight = 1 / np.maximum(target, 1) ** 2
    order = np.random.default_rng(seed).permutation(num_groups)
    taken, chosen = np.zeros(num_classes), np.zeros(num_groups, dtype=bool)
    for group in order:
        with_it = taken + counts[group]
        gain = weight @ ((taken - target) ** 2 - (with_it - target) ** 2)
        if gain > 0 and _leaves_all_classes(counts[group], total - taken):
            taken, chosen[group] = with_it, True
    # With a few large groups, each may exceed the share: then the smallest is taken.
    left = [group for group in order if _leaves_all_classes(counts[group], total)]
    if left and not chosen.any():
        chosen[min(left, key=lambda group: counts[group].sum())] = True
    if not chosen.any():
        raise ValueError(
            f"Expected enough people or videos to cut a validation part off, got {num_groups} that hold all "
            f"{len(samples)} samples. Add clips of other people, change `validation_share`, or set `select` to last."
        )
    is_cut = chosen[group_of].tolist()
    kept = [sample for sample, cut in zip(samples, is_cut, strict=True) if not cut]
    return kept, [sample for sample, cut in zip(samples, is_cut, strict=True) if cut]


def _leaves_all_classes(group: np.ndarray, left: np.ndarray) -> bool:
    """Return whether every class of a group has further samples among those that are left."""
    return not ((group == left) & (group > 0)).any()
