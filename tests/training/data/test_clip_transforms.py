import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from training.config import Augmentation
from training.data.clip_transforms import augment_clip, draw, draw_crop, erase_rectangle, happens

NOTHING = Augmentation(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip_chance=0.0)
COLOURS = Augmentation(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)


@pytest.fixture
def clip():
    frame = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return np.stack([frame] * 4)


@pytest.fixture(scope="module")
def soft_clip():
    """Three different frames without hard edges, of which faces have few."""
    noise = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    return np.stack(
        [cv2.normalize(cv2.GaussianBlur(frame, (0, 0), 4), None, 20, 235, cv2.NORM_MINMAX) for frame in noise]
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_torchvision(clip, size, settings, source):
    """The same changes on floats with torchvision's functions, which take eight times as long."""
    clip = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255
    if settings.rotation and happens(settings.rotation_chance, source):
        angle = draw(-settings.rotation, settings.rotation, source)
        clip = functional.rotate(clip, angle, interpolation=functional.InterpolationMode.BILINEAR)
    top, left, height, width = draw_crop(clip.shape[-2], clip.shape[-1], settings, source)
    clip = functional.resized_crop(clip, top, left, height, width, [size, size], antialias=True)
    if happens(settings.flip_chance, source):
        clip = functional.horizontal_flip(clip)
    if happens(settings.grey_chance, source):
        clip = functional.rgb_to_grayscale(clip, num_output_channels=3)
    if happens(settings.jitter_chance, source):
        for change, extent in (
            (functional.adjust_brightness, settings.brightness),
            (functional.adjust_contrast, settings.contrast),
            (functional.adjust_saturation, settings.saturation),
        ):
            if extent:
                clip = change(clip, draw(1 - extent, 1 + extent, source))
        if settings.hue:
            clip = functional.adjust_hue(clip, draw(-settings.hue, settings.hue, source))
    if happens(settings.blur_chance, source):
        sigma = draw(0.1, 2.0, source)
        clip = functional.gaussian_blur(clip, [2 * math.ceil(2 * sigma) + 1] * 2, [sigma] * 2)
    return (clip * 255).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    "settings",
    [
        Augmentation(),
        dataclasses.replace(COLOURS, hue=0.0),
        COLOURS,
        Augmentation(rotation=20.0),
        Augmentation(grey_chance=1.0),
        Augmentation(grey_chance=1.0, brightness=0.4, contrast=0.4, saturation=0.4),
        Augmentation(blur_chance=1.0),
    ],
    ids=["crop and flip", "no hue", "colours", "rotation", "grey", "grey and colours", "blur"],
)
@pytest.mark.parametrize("size", [112, 48])
def test_eight_bits_show_what_floats_show(soft_clip, settings, size):
    for seed in range(8):
        ours = augment_clip(soft_clip, size, settings, generator(seed)).astype(float)
        theirs = by_torchvision(soft_clip, size, settings, generator(seed))
        assert abs(ours - theirs).mean() < 1.0
        np.testing.assert_allclose(ours.mean(axis=(0, 1, 2)), theirs.mean(axis=(0, 1, 2)), atol=0.5)
        np.testing.assert_allclose(ours.std(axis=(0, 1, 2)), theirs.std(axis=(0, 1, 2)), atol=0.5)


def test_nothing_asked_for_changes_nothing(clip):
    np.testing.assert_array_equal(augment_clip(clip, 24, NOTHING, generator()), clip)


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
    before = clip.copy()
    first, second = (augment_clip(clip, 24, settings, generator(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(clip, before)
    assert (first.shape, first.dtype) == (clip.shape, np.uint8)
    assert not np.array_equal(first, clip)
    for frame in first[1:]:
        np.testing.assert_array_equal(frame, first[0])
    np.testing.assert_array_equal(first, augment_clip(clip, 24, settings, generator(1)))
    if not {"flip_chance", "grey_chance"} & set(change):
        assert not np.array_equal(first, second)


def test_the_changes_are_what_they_are_called(clip):
    flipped = augment_clip(clip, 24, dataclasses.replace(NOTHING, flip_chance=1.0), generator())
    np.testing.assert_array_equal(flipped, clip[:, :, ::-1])
    grey = augment_clip(clip, 24, dataclasses.replace(NOTHING, grey_chance=1.0), generator())
    assert np.ptp(grey, axis=-1).max() == 0
    erased = augment_clip(clip, 24, dataclasses.replace(NOTHING, erasing_chance=1.0), generator(4))
    assert 0.01 < (erased != clip).any(axis=-1).mean() < 0.4


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


def test_erased_rectangles_hold_noise_like_photographs():
    """youqingxiaozhua/ABAW3: normal noise with ImageNet's mean and deviation, cut off at black and white."""
    erase = Augmentation(
        crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip_chance=0.0, erasing_chance=1.0, erasing_area=(0.3, 0.3)
    )
    black = np.zeros((1, 400, 400, 3), np.uint8)
    noise = augment_clip(black, 400, erase, generator())[0]
    noise = noise[noise.any(axis=-1)].astype(float)
    assert len(noise) == pytest.approx(0.3 * 400**2, rel=0.02)
    np.testing.assert_allclose(noise.mean(axis=0), (123.7, 116.3, 103.5), atol=2)
    np.testing.assert_allclose(noise.std(axis=0), (57, 56, 55), atol=2)


def test_an_erased_rectangle_that_is_too_long_is_cut_off_as_in_the_authors_code():
    """`min(h, img_h)` of youqingxiaozhua/ABAW3; other erasing codes draw again."""
    settings = Augmentation(erasing_area=(0.9, 0.9))
    white = np.full((1, 40, 40, 3), 255, np.uint8)
    shapes = []
    for seed in range(60):
        rows, columns = np.nonzero((erase_rectangle(white, settings, generator(seed))[0] < 250).any(axis=-1))
        shapes.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
    assert max(map(max, shapes)) == 40
    assert min(map(min, shapes)) < 24
