"""Smiling and neutral portraits of the Face Research Lab London Set (DeBruine and Jones 2017)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfer_hf.taxonomy import Emotion
from training.datasets.people import of_split

TEST_PARTS = 3
"""One person in three is kept to test with: the release has no split of its own."""

EMOTIONS = {"smiling": Emotion.HAPPINESS, "neutral": Emotion.NEUTRAL}


@dataclass(frozen=True)
class Portrait:
    """One portrait.

    Args:
        path: Of the picture, such as `images/001_smiling.jpg`.
        emotion: What the person was asked to show.
        person: Number of the person.
    """

    path: Path
    emotion: Emotion
    person: str


def list_london(root: Path, split: str) -> list[Portrait]:
    """List the portraits of one part of the people.

    Args:
        root: Folder that holds `images`.
        split: `train`, or `test` for one person in three.

    Raises:
        FileNotFoundError: If there are no portraits.
        ValueError: If the split is neither.
    """
    portraits = [
        Portrait(path, EMOTIONS[shown], person)
        for path in sorted((root / "images").glob("*.jpg"))
        for person, _, shown in [path.stem.partition("_")]
        if shown in EMOTIONS
    ]
    if not portraits:
        raise FileNotFoundError(f"Expected portraits such as 001_smiling.jpg in {root / 'images'}, found none.")
    return of_split(portraits, split, TEST_PARTS)


def read_portraits(portraits: list[Portrait]) -> Iterator[np.ndarray]:
    """Read portraits in order, RGB, uint8 of shape `(height, width, 3)`, at half their size.

    Raises:
        ValueError: If one cannot be read.
    """
    for portrait in portraits:
        picture = cv2.imread(str(portrait.path), cv2.IMREAD_REDUCED_COLOR_2)
        if picture is None:
            raise ValueError(f"Expected a picture at {portrait.path}, but it cannot be read. Restore the release.")
        yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
