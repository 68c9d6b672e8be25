"""Face Research Lab London Set (DeBruine and Jones 2017): portraits with 189 points placed by hand."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

PUPILS = (0, 1)
"""The two pupils among the 189 points, the left one in the picture first."""

SHARED_POINTS: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = (
    ("eyes", (36,), (18,)),
    ("eyes", (39,), (22,)),
    ("eyes", (42,), (23,)),
    ("eyes", (45,), (27,)),
    ("lids", (37, 38), (20,)),
    ("lids", (40, 41), (29,)),
    ("lids", (43, 44), (25,)),
    ("lids", (46, 47), (32,)),
    ("brows", (17,), (71,)),
    ("brows", (21,), (75, 76)),
    ("brows", (22,), (77, 78)),
    ("brows", (26,), (82,)),
    ("nose", (33,), (55,)),
    *(("mouth", (48 + place,), (87 + place,)) for place in range(7)),
    *(("mouth", (55 + place,), (108 - place,)) for place in range(5)),
    ("mouth", (62,), (96,)),
    ("mouth", (66,), (101,)),
    ("chin", (8,), (129,)),
)
"""Points that both templates have: the part of the face, landmarks of the 68, points of the 189.

They were matched by eye on the mean of all faces. Where one template has two points for one of the other, their middle
counts: the 189 have one point in the middle of each lid and the 68 two beside it, and the 189 have both edges of the
inner end of each brow.
"""


@dataclass(frozen=True)
class Portrait:
    """A person with a neutral face.

    Args:
        person: Number of the person.
        ethnicity: In the person's own words; empty where not given.
        rgb: uint8 of shape `(height, width, 3)`.
        points: Placed by hand, in pixels, `(189, 2)`.
    """

    person: str
    ethnicity: str
    rgb: np.ndarray
    points: np.ndarray


def read_portraits(root: Path) -> Iterator[Portrait]:
    """Read the neutral portraits one by one.

    Raises:
        FileNotFoundError: If points, people or an image are missing.
    """
    for name in ("neutral_landmarks189.npz", "people.csv"):
        if not (root / name).is_file():
            raise FileNotFoundError(f"Expected {name} in {root}, but it is not there. Pass the London Set.")
    with (root / "people.csv").open(newline="", encoding="utf-8") as file:
        ethnicities = {row["person"]: row["ethnicity"] for row in csv.DictReader(file)}
    with np.load(root / "neutral_landmarks189.npz", allow_pickle=False) as archive:
        for person in archive.files:
            path = root / "images" / f"{person}_neutral.jpg"
            bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if bgr is None:
                raise FileNotFoundError(f"Expected an image at {path}, but there is none that can be read.")
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            yield Portrait(person, ethnicities.get(person, ""), rgb, archive[person].astype(np.float64))
