"""The common form of every dataset: clips with labels, in the splits that its authors made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


class CorpusError(ValueError):
    """A corpus is not laid out as its release; the message says what was expected, what came, and what to do."""


@dataclass(frozen=True)
class Clip:
    """One labelled clip; a still is a clip of one frame.

    Args:
        name: Its name in the annotation, with forward slashes; unique in the dataset.
        source: A video file, a folder of frames, or one picture.
        label: What it shows, an emotion or a class of the user's own; None where its frames are labelled one by one.
        frame_labels: Label of each frame of `frame_paths(source)` or of the video, None for a frame that has none.
        person: Who is seen, where the corpus says so: people are never divided between training and test.
        scene: Part of the corpus, where it has parts.
    """

    name: str
    source: Path
    label: str | None
    frame_labels: tuple[str | None, ...] | None = None
    person: str | None = None
    scene: str | None = None


@dataclass(frozen=True)
class Split:
    """One division of a dataset.

    Args:
        corpus: Name of the dataset, such as `dfew`.
        fold: Which of its folds, counted from 1; None where it has one division.
        label_names: Its classes, in the order a model trained on it has them.
        train: Clips to train on.
        test: Clips to test on; never seen in training, and by default not in the choice of an epoch either.
        left_out: Why clips of the annotation were left out, and how many; `{"compound label": 958}`.
    """

    corpus: str
    fold: int | None
    label_names: tuple[str, ...]
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """A dataset that can be read.

    Args:
        name: Its name in recipes and on the command line.
        title: Its authors' name for it.
        load: Reads one division from the folder of the release; takes the folder and the fold, which is None where
            `num_folds` is 1. It reads annotations only: frames are looked at by `check` and `prepare`.
        num_folds: Number of divisions that its authors made.
        expected: Contents of the release, as far as known: `{"1": {"train": 9356, "test": 2341}}` for each fold, "1"
            where there is one division, and clips by class over the whole dataset under "classes".
        source: Where the layout and the counts come from: paper, or repository, commit and file.
    """

    name: str
    title: str
    load: Callable[[Path, int | None], Split]
    num_folds: int
    expected: Mapping[str, Mapping[str, int]]
    source: str
