"""Maps at another size, without any library of pictures."""

import numpy as np


def resized(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize maps `(..., h, w)` to `(..., height, width)`, between the centres of their cells in straight lines."""
    down, across = _weights(maps.shape[-2], height), _weights(maps.shape[-1], width)
    return down @ maps.astype(np.float32) @ across.T


def _weights(old: int, new: int) -> np.ndarray:
    """How much each old cell gives to each new one, `(new, old)`."""
    places = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    return (1 - np.abs(places[:, None] - np.arange(old))).clip(min=0).astype(np.float32)
