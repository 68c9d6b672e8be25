"""Faces of a bank as stills that can be moved: their landmarks are predicted."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dfer_hf.faces.alignment import CROP_SIZE
from training.data import transforms
from training.data.movable_faces import MovableFaces
from training.data.still_dataset import to_pixel_values
from training.datasets.face_bank import FaceBank

FACES_AT_ONCE = 64


def movable_bank(
    bank: FaceBank, landmark_head: nn.Module, *, persons: Sequence[str] | None = None, balance: float = 0.0
) -> MovableFaces:
    """Predict the landmarks of every face of a bank, and work out how it is at rest.

    Args:
        bank: The faces.
        landmark_head: Such as `landmark_head` of a key-points GCN.
        persons: Name of the person of each face; None where nobody is known.
        balance: Exponent of the sampling weight; see `MovableFaces.build`.

    Raises:
        ValueError: If no face is neutral.
    """
    images = np.array(bank.images)
    landmarks = predict_landmarks(landmark_head, images, bank.crop_to_image)
    return MovableFaces.build(images, bank.crop_to_image, bank.votes, landmarks, persons=persons, balance=balance)


@torch.inference_mode()
def predict_landmarks(landmark_head: nn.Module, images: np.ndarray, crop_to_image: np.ndarray) -> np.ndarray:
    """Predict the 68 landmarks of faces from their aligned crops, in pixels of the images, `(count, 68, 2)`."""
    matrices = torch.from_numpy(crop_to_image).float()
    landmark_head.eval()
    parts = []
    for chosen in torch.arange(len(images)).split(FACES_AT_ONCE):
        pixels = torch.from_numpy(images[chosen.numpy()]).float() / 255
        crops = to_pixel_values(transforms.warp(pixels, matrices[chosen], CROP_SIZE))
        # The head counts from the edge of the crop, and transforms from the middle of its first pixel.
        places = landmark_head(crops).float() * CROP_SIZE - 0.5
        linear, shift = matrices[chosen, :, :2], matrices[chosen, None, :, 2]
        parts.append(places @ linear.transpose(1, 2) + shift)
    return torch.cat(parts).numpy()
