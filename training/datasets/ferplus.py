"""FER2013 faces with the crowd votes of FER+ (Barsoum et al. 2016), and landmarks to align them by."""

import csv
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from dfer_hf.faces.alignment import five_points_of_68
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.datasets.labels import emotion_of_word

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""The ten columns of the votes; the last two are "unknown" and "not a face"."""


@dataclass(frozen=True)
class FerPlus:
    """One split, as arrays.

    Args:
        images: Grey faces, uint8 of shape `(count, 48, 48)`.
        landmarks: 68 landmarks in iBUG order in pixels, `(count, 68, 2)`; a network's, not annotated.
        votes: Share of the votes of each of the seven classes, `(count, 7)`; rows sum to 1.
        labels: Class with the most votes, `(count,)`.
        first_labels: Class that FER2013 had given before the votes, `(count,)`; -1 where it gave none.
        names: Of the pictures, `(count,)`.
    """

    images: np.ndarray
    landmarks: np.ndarray
    votes: np.ndarray
    labels: np.ndarray
    first_labels: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def points(self) -> np.ndarray:
        """Left eye, right eye, nose and mouth corners in pixels, `(count, 5, 2)`."""
        return five_points_of_68(self.landmarks)

    def subset(self, indices: np.ndarray | range) -> "FerPlus":
        """Keep the faces at `indices`."""
        return FerPlus(**{entry.name: getattr(self, entry.name)[indices] for entry in fields(self)})


def load_ferplus(root: Path, split: str) -> FerPlus:
    """Read a split: faces whose majority is one of the seven classes; ties, non-faces, contempt left out.

    Args:
        root: Folder with `labels.csv`, `<split>.zip` and `landmarks68_pseudo.npz`.
        split: `train` or `valid`.

    Raises:
        FileNotFoundError: If a file of the split is missing.
        ValueError: If the split has no faces, an image is missing or cannot be read, or a face has no landmarks.
    """
    for name in ("labels.csv", f"{split}.zip", "landmarks68_pseudo.npz"):
        if not (root / name).is_file():
            raise FileNotFoundError(f"Expected {name} in {root}, but it is not there. Pass the folder of FER+.")
    with (root / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    if not rows:
        raise ValueError(f"Expected faces of the split {split!r} in labels.csv, but there is no face of it.")
    counts = np.array([[int(row[vote]) for vote in VOTES] for row in rows])
    most = counts.max(axis=1, keepdims=True)
    one_winner = (counts == most).sum(axis=1) == 1
    columns = [VOTES.index(emotion.value) for emotion in SEVEN_EMOTIONS]
    kept = np.flatnonzero(one_winner & np.isin(counts.argmax(axis=1), columns))

    votes = counts[kept][:, columns].astype(np.float32)
    votes /= votes.sum(axis=1, keepdims=True)
    names = [rows[index]["image"] for index in kept]
    first_labels = np.array([_first_label(rows[index].get("fer2013", "")) for index in kept])
    with np.load(root / "landmarks68_pseudo.npz", allow_pickle=False) as archive:
        place = {name: index for index, name in enumerate(archive["image"])}
        missing = [name for name in names if name not in place]
        if missing:
            raise ValueError(
                f"Expected landmarks for every face, but {missing[0]} and {len(missing) - 1} more have none."
            )
        landmarks = archive["points"][[place[name] for name in names]].astype(np.float32)
    images = _read_images(root / f"{split}.zip", names)
    return FerPlus(images, landmarks, votes, votes.argmax(axis=1), first_labels, np.array(names))


def _first_label(word: str) -> int:
    emotion = emotion_of_word(word)
    return -1 if emotion is None else SEVEN_EMOTIONS.index(emotion)


def _read_images(archive: Path, names: list[str]) -> np.ndarray:
    images = np.empty((len(names), 48, 48), dtype=np.uint8)
    with zipfile.ZipFile(archive) as file:
        missing = sorted(set(names) - set(file.namelist()))
        if missing:
            raise ValueError(
                f"Expected every face in {archive.name}, but {missing[0]} and {len(missing) - 1} more are not."
            )
        for index, name in enumerate(names):
            image = cv2.imdecode(np.frombuffer(file.read(name), np.uint8), cv2.IMREAD_GRAYSCALE)
            if image is None or image.shape != (48, 48):
                raise ValueError(
                    f"Expected a 48×48 image in {archive.name}, but {name} is unreadable or of another size."
                )
            images[index] = image
    return images
