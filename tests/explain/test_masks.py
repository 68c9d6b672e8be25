import numpy as np
import pytest
import torch

from dfer_hf.explain import Target
from dfer_hf.explain.masks import Steps, blurred, mask_maps, random_masks
from dfer_hf.explain.resizing import resized
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig

ANGER = Target("anger").resolve(FrameResNetConfig(), np.zeros(1, dtype=int))


def encode_corners(frames):
    """Brightness of the upper left eighth of each frame, `(frames, 1)`."""
    side = frames.shape[1] // 8
    return frames[:, :side, :side].astype(np.float32).mean(axis=(1, 2, 3))[:, None] / 255


def answer_corners(clips):
    """Logits of clips that show anger as far as their corners are bright."""
    logits = np.zeros((len(clips), 7))
    logits[:, 3] = 8 * clips.mean(axis=(1, 2))
    return logits


@pytest.fixture
def frames():
    """Eight frames of grey, of which the last four have a white corner."""
    frames = np.full((8, 64, 64, 3), 60, dtype=np.uint8)
    frames[4:, :8, :8] = 255
    return frames


def test_a_blurred_picture_keeps_its_mean_and_loses_its_detail():
    pictures = np.random.default_rng(0).random((2, 3, 40, 40), dtype=np.float32)
    fill = blurred(pictures)
    assert fill.shape == pictures.shape
    assert fill.dtype == np.float32
    assert np.abs(fill.mean(axis=(-2, -1)) - pictures.mean(axis=(-2, -1))).max() < 0.02
    assert fill.std() < 0.2 * pictures.std()
    np.testing.assert_allclose(blurred(np.ones((1, 40, 40))), np.ones((1, 40, 40)), rtol=1e-5)


def test_masks_are_soft_ellipses_over_half_the_frames():
    masks = random_masks(50, 6, np.random.default_rng(0))
    assert masks.min() == 0
    assert masks.max() == 1
    covered = masks.max(axis=(2, 3)) > 0
    assert (covered.sum(axis=1) <= 3).all()
    assert covered.mean() > 0.45
    share = masks[covered].mean(axis=(1, 2))
    assert 0.03 < share.mean() < 0.2


@pytest.mark.parametrize("size", [(56, 56), (7, 5), (112, 30)])
def test_maps_are_resized_as_torch_does_it(size):
    maps = np.random.default_rng(0).random((2, 3, 28, 14), dtype=np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(maps), size, mode="bilinear")
    np.testing.assert_allclose(resized(maps, *size), expected, atol=1e-5)


def test_maps_mark_the_place_and_the_frames_that_count(frames):
    maps = mask_maps(Steps(encode_corners, answer_corners), frames, ANGER)
    assert maps.shape == (8, 28, 28)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps[4:, :4, :4].mean() > 3 * maps[4:, 12:, 12:].mean()
    assert maps[6].mean() > 2 * maps[0].mean()


def test_frames_that_no_mask_covers_are_not_encoded_again(frames):
    counted = []

    def encode(part):
        counted.append(len(part))
        return encode_corners(part)

    apart = mask_maps(Steps(encode, answer_corners), frames, ANGER, num_masks=10)
    assert sum(counted) == 8 + 10 * 4
    together = Steps(
        lambda part: part, lambda clips: answer_corners(np.stack([encode_corners(clip) for clip in clips]))
    )
    np.testing.assert_allclose(mask_maps(together, frames, ANGER, num_masks=10), apart, atol=1e-6)


def test_what_is_covered_stays_a_picture_of_whole_numbers(frames):
    seen = []

    def encode(part):
        seen.append(part)
        return encode_corners(part)

    frames[:, :, 32:] = 255
    mask_maps(Steps(encode, answer_corners), frames, ANGER, num_masks=4)
    assert all(part.dtype == np.uint8 for part in seen)
    # Grey beside white is covered by what lies between.
    assert min(part.min() for part in seen) >= 60
    assert any(60 < value < 255 for part in seen for value in np.unique(part))
