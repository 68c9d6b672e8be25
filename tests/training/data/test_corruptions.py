import numpy as np
import pytest
import skimage.data

from training.data.corruptions import SEVERITIES, corrupt, reframe, shrink

FACE = skimage.data.astronaut()[20:132, 170:282][None]


@pytest.mark.parametrize("corruption", SEVERITIES)
def test_a_corruption_grows_with_its_severity(corruption):
    changes = [np.abs(corrupt(FACE, corruption, level).astype(float) - FACE).mean() for level in range(1, 6)]
    assert changes[0] > 0.3
    # Where and to which side is drawn.
    assert changes == sorted(changes) or corruption in ("occlusion", "rotation", "motion blur")
    assert changes[4] > changes[0]


def test_a_corruption_is_drawn_by_its_seed():
    first, again, other = (corrupt(FACE, "gaussian noise", 3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.dtype == np.uint8
    assert first.shape == FACE.shape


@pytest.mark.parametrize(("corruption", "severity"), [("rain", 1), ("blur", 0), ("blur", 6)])
def test_an_unknown_corruption_is_refused(corruption, severity):
    with pytest.raises(ValueError, match="Expected one of gaussian noise"):
        corrupt(FACE, corruption, severity)


def test_faces_are_shifted_and_scaled_in_their_crops():
    spot = np.zeros((1, 112, 112, 3), np.uint8)
    spot[0, 54:58, 54:58] = 255
    shifted = np.argwhere(reframe(spot, shift=0.2)[0, ..., 0] > 128).mean(axis=0)
    assert np.linalg.norm(shifted - 55.5) == pytest.approx(0.2 * 112, abs=1)
    larger = (reframe(spot, scale=2.0)[0, ..., 0] > 128).sum()
    assert larger == pytest.approx(64, abs=12)
    assert shrink(FACE[0], 0.25).shape == (28, 28, 3)
