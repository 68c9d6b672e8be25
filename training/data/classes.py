"""What a recipe tells apart, where it is not every class of its dataset."""

import dataclasses
from collections.abc import Mapping, Sequence

from training.datasets.corpus import Clip, Split

OTHER_CLASSES = "of classes that the run leaves out"


def choose_classes(split: Split, classes: Mapping[str, Sequence[str]]) -> Split:
    """Join classes and leave others out, as the `classes` of a recipe say; all stay where it says nothing.

    Training and evaluation both call this, so that a run is measured on what it tells apart.

    Args:
        split: One division of a dataset.
        classes: By name, the classes that it joins.

    Returns:
        The division with these classes in their order. Clips of other classes are left out and counted; where frames
        are labelled one by one, those of other classes have no label.

    Raises:
        ValueError: If a class is joined that the dataset does not have, or twice.
    """
    if not classes:
        return split
    known = [str(name) for name in split.label_names]
    joined = [name for members in classes.values() for name in members]
    if not set(joined) <= set(known) or len(set(joined)) < len(joined):
        raise ValueError(
            f"Expected `classes` to name classes of the dataset, each once, got {', '.join(joined)}; it has "
            f"{', '.join(known)}."
        )
    name_of = {member: name for name, members in classes.items() for member in members}

    def choose(clips: Sequence[Clip]) -> tuple[Clip, ...]:
        chosen = []
        for clip in clips:
            frame_labels = clip.frame_labels and tuple(name_of.get(str(label)) for label in clip.frame_labels)
            label = name_of.get(str(clip.label))
            if label is not None or any(frame_labels or ()):
                chosen.append(dataclasses.replace(clip, label=label, frame_labels=frame_labels))
        return tuple(chosen)

    train, test = choose(split.train), choose(split.test)
    num_others = len(split.train) + len(split.test) - len(train) - len(test)
    left_out = dict(split.left_out) | ({OTHER_CLASSES: num_others} if num_others else {})
    return dataclasses.replace(split, label_names=tuple(classes), train=train, test=test, left_out=left_out)
