import cv2
import numpy as np
import pytest
import skimage.data

from dfer_hf.faces.low_light import brighten


@pytest.fixture(scope="module")
def face():
    return cv2.resize(skimage.data.astronaut()[:200, 120:320], (112, 112), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_a_dark_face_comes_near_to_half_of_the_light(face, share):
    dark = (face * share).astype(np.uint8)
    bright = brighten(dark)
    assert (bright.dtype, bright.shape) == (np.uint8, face.shape)
    assert bright.max(axis=2).mean() / 255 == pytest.approx(0.5, abs=0.12)
    assert bright.mean() > dark.mean()


def test_no_pixel_gets_darker(face):
    dark = face // 3
    assert (brighten(dark) >= dark).all()


def test_a_bright_face_is_left_as_it_is(face):
    assert face.max(axis=2).mean() > 127
    assert brighten(face) is face


def test_brightening_sets_in_gradually():
    ramp = np.linspace(40, 215, 112).astype(int)
    means = []
    for shift in range(-12, 13):
        rgb = np.broadcast_to((ramp + shift)[None, :, None], (112, 112, 3)).astype(np.uint8)
        means.append(float(brighten(rgb).mean()))
    # Levels, where the picture itself changes by one.
    assert abs(np.diff(means)).max() < 3


def test_colours_keep_their_hue(face):
    dark = (face * 0.3).astype(np.uint8)
    bright = brighten(dark).astype(float)
    unclipped = (bright.max(axis=2) < 250) & (dark.min(axis=2) > 20)
    assert unclipped.mean() > 0.2
    shares = [rgb[unclipped] / rgb[unclipped].sum(axis=1, keepdims=True) for rgb in (dark.astype(float), bright)]
    assert abs(shares[0] - shares[1]).max() < 0.03


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_pictures_of_one_level_stay_finite_and_even(level):
    with np.errstate(all="raise"):
        bright = brighten(np.full((112, 112, 3), level, np.uint8))
    assert np.ptp(bright) == 0
    assert bright[0, 0, 0] >= level
