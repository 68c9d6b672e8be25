import dataclasses

import pytest
import torch

from training.config import Augmentation
from training.data.clip_transforms import augment_clip, draw_crop

NOTHING = Augmentation(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip_chance=0.0)


@pytest.fixture
def clip():
    frame = torch.rand((3, 24, 24), generator=torch.Generator().manual_seed(0))
    return frame.expand(4, -1, -1, -1).clone()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_for_changes_nothing(clip):
    torch.testing.assert_close(augment_clip(clip, 24, NOTHING, generator()), clip)


@pytest.mark.parametrize(
    "change",
    [
        {"crop_area": (0.2, 0.9)},
        {"flip_chance": 1.0},
        {"brightness": 0.5},
        {"contrast": 0.5},
        {"saturation": 0.9},
        {"hue": 0.4},
        {"rotation": 30.0},
        {"grey_chance": 1.0},
        {"blur_chance": 1.0},
        {"erasing_chance": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_change_is_the_same_in_all_frames_and_random(clip, change):
    settings = dataclasses.replace(NOTHING, **change)
    first, second = (augment_clip(clip, 24, settings, generator(seed)) for seed in (1, 2))
    assert first.shape == clip.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.allclose(first, clip, atol=1e-3)
    for frame in first[1:]:
        torch.testing.assert_close(frame, first[0])
    assert torch.equal(first, augment_clip(clip, 24, settings, generator(1)))
    if not {"flip_chance", "grey_chance"} & set(change):
        assert not torch.allclose(first, second, atol=1e-3)


def test_the_changes_are_what_they_are_called(clip):
    flipped = augment_clip(clip, 24, dataclasses.replace(NOTHING, flip_chance=1.0), generator())
    torch.testing.assert_close(flipped, clip.flip(-1))
    grey = augment_clip(clip, 24, dataclasses.replace(NOTHING, grey_chance=1.0), generator())
    assert grey.std(dim=1).max() < 1e-6
    brighter = augment_clip(clip * 0.4, 24, dataclasses.replace(NOTHING, brightness=0.5), generator(3))
    ratio = brighter / (clip * 0.4)
    torch.testing.assert_close(ratio, torch.full_like(ratio, ratio.flatten()[0].item()))
    erased = augment_clip(clip, 24, dataclasses.replace(NOTHING, erasing_chance=1.0), generator(4))
    changed = (erased != clip).any(dim=1).float().mean().item()
    assert 0.01 < changed < 0.4


def test_crops_keep_to_their_area_and_shape():
    settings = Augmentation(crop_area=(0.3, 0.6), crop_aspect=(0.75, 4 / 3))
    crops = [draw_crop(100, 100, settings, generator(seed)) for seed in range(200)]
    areas = [height * width / 10_000 for _, _, height, width in crops]
    assert 0.28 < min(areas) < 0.34
    assert 0.56 < max(areas) < 0.62
    assert all(0.73 < width / height < 1.37 for _, _, height, width in crops)
    assert all(
        top >= 0 and left >= 0 and top + height <= 100 and left + width <= 100 for top, left, height, width in crops
    )
    assert {top for top, _, _, _ in crops} > {0, 5, 10}


def test_a_crop_that_never_fits_is_the_whole_picture():
    settings = Augmentation(crop_area=(1.0, 1.0), crop_aspect=(3.0, 4.0))
    assert draw_crop(10, 10, settings, generator()) == (0, 0, 10, 10)
