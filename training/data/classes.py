"""What a recipe tells apart, where it is not every class of its dataset."""

import dataclasses
from collections.abc import Mapping, Sequence

from training.data.clip_dataset import Sample


def choose_classes(
    samples: Sequence[Sample], label_names: Sequence[str], classes: Mapping[str, Sequence[str]]
) -> list[Sample]:
    """Join classes and leave others out, as the `classes` of a recipe say; all stay where it says nothing.

    Returns:
        The samples that are left, with labels in the order of `classes`.

    Raises:
        ValueError: If a class is joined that the dataset does not have, or twice.
    """
    if not classes:
        return list(samples)
    joined = [name for members in classes.values() for name in members]
    unknown = [name for name in joined if name not in label_names]
    if unknown or len(set(joined)) < len(joined):
        raise ValueError(
            f"Expected `classes` to name classes of the dataset, each once, got {', '.join(joined)}; it has "
            f"{', '.join(map(str, label_names))}."
        )
    index_of = {name: index for index, members in enumerate(classes.values()) for name in members}
    new_label = {old: index_of[name] for old, name in enumerate(map(str, label_names)) if name in index_of}
    return [
        dataclasses.replace(sample, label=new_label[sample.label]) for sample in samples if sample.label in new_label
    ]
