"""Brighten dark faces, as NR-DFERNet does with AFEW before training.

The paper (Preprocessing) names EnlightenGAN, as Former-DFER does: a pretrained network that no library ships. In its
stead stands a method that, like it, is led by a map of the illumination, here the largest of the three colours: LIME
(Guo, Li and Ling, IEEE Transactions on Image Processing 26, 2017), with OpenCV's bilateral filter to smooth the map.
"""

import cv2
import numpy as np

METHOD = "illumination map after LIME (Guo et al. 2017), bilateral, brightened to a mean of 0.5"

_WANTED_ILLUMINATION = 0.5
_STRONGEST_GAMMA = 0.8  # what LIME uses
# Keeps noise in black from being blown up.
_DARKEST = 0.02
# Of the bilateral filter, made for crops of 112 pixels.
_DIAMETER, _SIGMA_LEVEL, _SIGMA_PIXELS = 9, 0.1, 5.0


def brighten(rgb: np.ndarray) -> np.ndarray:
    """Divide a dark picture by a power of its illumination; leave a bright one as it is.

    The power is the one that brings the mean illumination to a half, and at most LIME's 0.8. It falls to 0 as the mean
    comes near a half, so that a clip whose light changes does not flicker where it gets bright enough.

    Args:
        rgb: uint8 of shape `(height, width, 3)`.

    Returns:
        uint8 of the same shape; the same array where nothing is to be done.
    """
    levels = rgb.astype(np.float32) / 255
    illumination = np.maximum(levels.max(axis=2), _DARKEST)
    mean = float(illumination.mean())
    if mean >= _WANTED_ILLUMINATION:
        return rgb
    gamma = min(1 - np.log(_WANTED_ILLUMINATION) / np.log(mean), _STRONGEST_GAMMA)
    smooth = cv2.bilateralFilter(illumination, _DIAMETER, _SIGMA_LEVEL, _SIGMA_PIXELS)
    brightened = levels / np.maximum(smooth, _DARKEST)[..., None] ** gamma
    return np.rint(brightened.clip(0, 1) * 255).astype(np.uint8)
