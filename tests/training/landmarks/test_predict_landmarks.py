import numpy as np
import pytest
import torch
from torch import nn

from dfer_hf.faces.alignment import CROP_SIZE
from training.landmarks.predict_landmarks import predict_landmarks


class KnowingHead(nn.Module):
    """Says that the landmarks are at the same places of every crop, as fractions of its side from its edge."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def forward(self, frames):
        assert frames.shape[1:] == (3, CROP_SIZE, CROP_SIZE)
        return ((self.places + 0.5) / CROP_SIZE).expand(len(frames), -1, -1)


@pytest.mark.parametrize("channels", [1, 3])
def test_landmarks_come_in_pixels_of_the_pictures(channels):
    places = torch.rand(68, 2, generator=torch.Generator().manual_seed(0)) * 112
    crop_to_image = np.array([[[0.5, 0.1, 3.0], [-0.1, 0.5, 7.0]], [[2.0, 0, 1.0], [0, 2.0, -4.0]]], dtype=np.float32)
    images = np.zeros((2, channels, 48, 48), dtype=np.uint8)
    predicted = predict_landmarks(images, crop_to_image, KnowingHead(places))
    for found, matrix in zip(predicted, crop_to_image, strict=True):
        np.testing.assert_allclose(found, places.numpy() @ matrix[:, :2].T + matrix[:, 2], atol=1e-3)


def test_the_shipped_head_finds_eyes_above_the_mouth():
    images = np.zeros((1, 1, 112, 112), dtype=np.uint8)
    predicted = predict_landmarks(images, np.array([[[1, 0, 0], [0, 1, 0]]], dtype=np.float32))
    assert predicted.shape == (1, 68, 2)
    assert predicted[0, 36:48, 1].max() < predicted[0, 48:, 1].min()
