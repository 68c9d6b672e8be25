"""Real faces of several datasets as one set of arrays, with all that training needs to know of each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from dfer_hf.faces.alignment import CROP_SIZE, similarity_transform

MARGIN = 32
"""Pixels around the 112×112 crop that a wide crop shows as well, so that training can shift, turn and zoom it."""

WIDE_SIZE = CROP_SIZE + 2 * MARGIN


@dataclass(frozen=True)
class FaceBank:
    """Faces of one kind of picture.

    Args:
        images: uint8 of shape `(count, channels, height, width)`; one channel is grey.
        crop_to_image: From pixels of the aligned 112×112 crop to pixels of the image, `(count, 2, 3)`.
        labels: Class of each face in the order of `SEVEN_EMOTIONS`, `(count,)`.
        votes: Share of people who saw each class, `(count, 7)`; rows sum to 1.
        landmarks: The 68 landmarks in pixels of the image, `(count, 68, 2)`.
        blendshapes: How far each of 52 muscle movements went, from 0 to 1, `(count, 52)`; NaN where it is not known.
        names: Of the pictures, `(count,)`.
    """

    images: np.ndarray
    crop_to_image: np.ndarray
    labels: np.ndarray
    votes: np.ndarray
    landmarks: np.ndarray
    blendshapes: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def join(cls, banks: Sequence["FaceBank"]) -> "FaceBank":
        """Put banks of pictures of one size together."""
        return cls(
            **{entry.name: np.concatenate([getattr(bank, entry.name) for bank in banks]) for entry in fields(cls)}
        )

    def save(self, folder: Path) -> None:
        """Write each array as a file of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        for entry in fields(self):
            np.save(folder / f"{entry.name}.npy", getattr(self, entry.name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "FaceBank":
        """Read what `save` wrote; the pictures stay on disk until they are asked for.

        Raises:
            FileNotFoundError: If an array is missing.
        """
        for entry in fields(cls):
            if not (folder / f"{entry.name}.npy").is_file():
                raise FileNotFoundError(
                    f"Expected {entry.name}.npy in {folder}, but it is not there. Make the folder with "
                    "python -m training.prepare_faces."
                )
        return cls(
            **{
                entry.name: np.load(folder / f"{entry.name}.npy", mmap_mode="r" if entry.name == "images" else None)
                for entry in fields(cls)
            }
        )


def cut_wide(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Cut an aligned face out of a picture with `MARGIN` pixels more on every side.

    Args:
        picture: RGB, uint8 of shape `(height, width, 3)`.
        points: Left eye, right eye, nose and mouth corners in pixels, `(5, 2)`.

    Returns:
        uint8 of shape `(WIDE_SIZE, WIDE_SIZE, 3)`.
    """
    transform = similarity_transform(points)
    transform[:, 2] += MARGIN
    return cv2.warpAffine(picture, transform, (WIDE_SIZE, WIDE_SIZE), flags=cv2.INTER_AREA)
