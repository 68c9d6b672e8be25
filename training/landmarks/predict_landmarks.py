"""Predict the landmarks of faces that come without."""

import numpy as np
import torch
from torch import nn

from dfer_hf.checkpoints import find_checkpoint
from dfer_hf.faces.alignment import CROP_SIZE
from dfer_hf.models.modeling_keypoint_gcn import KeypointGcnForVideoClassification
from training.data import transforms
from training.data.still_dataset import to_pixel_values

CHECKPOINT = "dfer-keypoint-gcn-small"
FACES_AT_ONCE = 64


def shipped_landmark_head() -> nn.Module:
    """Load the landmark head of the shipped key-points GCN."""
    model = KeypointGcnForVideoClassification.from_pretrained(find_checkpoint(CHECKPOINT), dtype=torch.float32)
    return model.landmark_head


@torch.inference_mode()
def predict_landmarks(
    images: np.ndarray, crop_to_image: np.ndarray, landmark_head: nn.Module | None = None
) -> np.ndarray:
    """Predict the 68 landmarks of faces from their aligned crops.

    Args:
        images: uint8 of shape `(count, channels, height, width)`.
        crop_to_image: From pixels of the aligned 112×112 crop to pixels of the image, `(count, 2, 3)`.
        landmark_head: What predicts them; the shipped head where it is left out.

    Returns:
        In pixels of the images, `(count, 68, 2)`.
    """
    head = (landmark_head or shipped_landmark_head()).eval()
    matrices = torch.from_numpy(crop_to_image).float()
    parts = []
    for chosen in torch.arange(len(images)).split(FACES_AT_ONCE):
        pixels = torch.from_numpy(images[chosen.numpy()]).float() / 255
        crops = to_pixel_values(transforms.warp(pixels, matrices[chosen], CROP_SIZE))
        # The head counts from the edge of the crop, and transforms from the middle of its first pixel.
        places = head(crops).float() * CROP_SIZE - 0.5
        linear, shift = matrices[chosen, :, :2], matrices[chosen, None, :, 2]
        parts.append(places @ linear.transpose(1, 2) + shift)
    return torch.cat(parts).numpy()
