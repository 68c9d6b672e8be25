"""Photographs of muxspace/facial_expressions: news pictures, film stills and students acting, with one label each."""

import csv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfer_hf.taxonomy import Emotion
from training.datasets.people import of_split

TEST_PARTS = 10
"""One person in ten is kept to test with: the release has no split of its own."""


@dataclass(frozen=True)
class Photograph:
    """One photograph.

    Args:
        name: File name of the image.
        emotion: What one student took the expression for.
        person: Whose face it is.
    """

    name: str
    emotion: Emotion
    person: str


def list_muxspace(root: Path, split: str) -> list[Photograph]:
    """List the photographs of one part of the people.

    Args:
        root: Folder with `labels.csv` and `train.zip`.
        split: `train`, or `test` for one person in ten.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the split is neither, or a row names an unknown emotion.
    """
    for name in ("labels.csv", "train.zip"):
        if not (root / name).is_file():
            raise FileNotFoundError(f"Expected {name} in {root}, but it is not there. Pass the folder of muxspace.")
    with (root / "labels.csv").open(newline="", encoding="utf-8") as file:
        photographs = [Photograph(row["image"], Emotion(row["label"]), row["person"]) for row in csv.DictReader(file)]
    return of_split(photographs, split, TEST_PARTS)


def read_photographs(root: Path, photographs: list[Photograph]) -> Iterator[np.ndarray]:
    """Read the images of photographs in order, RGB, uint8 of shape `(height, width, 3)`.

    Raises:
        ValueError: If an image is missing or cannot be read.
    """
    with zipfile.ZipFile(root / "train.zip") as archive:
        there = set(archive.namelist())
        for photograph in photographs:
            content = archive.read(photograph.name) if photograph.name in there else b""
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
            if image is None:
                raise ValueError(
                    f"Expected a picture {photograph.name} in train.zip, but it is missing or unreadable."
                )
            yield image
