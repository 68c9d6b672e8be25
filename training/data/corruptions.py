"""Ten corruptions of face crops in five severities, after Hendrycks and Dietterich 2019 (ImageNet-C).

They are those that video of people shows, and act on aligned crops of 112×112 pixels, so that a severity means the
same for every dataset. Each is a pure function; what is drawn depends on the seed alone.
"""

from collections.abc import Callable

import cv2
import numpy as np

from training.data.clip_damage import compress

SEVERITIES: dict[str, tuple[float, ...]] = {
    "gaussian noise": (8, 14, 22, 32, 45),
    "blur": (1.0, 1.6, 2.4, 3.4, 4.6),
    "motion blur": (5, 9, 13, 19, 27),
    "jpeg": (40, 25, 15, 9, 5),
    "bright light": (1.3, 1.6, 2.0, 2.6, 3.4),
    "low light": (0.55, 0.4, 0.28, 0.18, 0.1),
    "contrast": (0.6, 0.45, 0.32, 0.22, 0.14),
    "resolution": (56, 40, 28, 20, 14),
    "occlusion": (0.06, 0.12, 0.18, 0.26, 0.36),
    "rotation": (8, 15, 23, 32, 45),
}
"""Standard deviation of 255; sigma and length in pixels; quality; factors on the light, and on the contrast; pixels
that the side is shrunk to; share of the area; degrees."""


def corrupt(crops: np.ndarray, corruption: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """Corrupt crops.

    Args:
        crops: uint8 of shape `(count, 112, 112, 3)`.
        corruption: One of `SEVERITIES`.
        severity: From 1 to 5.
        seed: Of what is drawn; the crop at one place gets the same every time.

    Raises:
        ValueError: If there is no such corruption or severity.
    """
    if corruption not in SEVERITIES or not 1 <= severity <= 5:
        raise ValueError(
            f"Expected one of {', '.join(SEVERITIES)} and a severity from 1 to 5, got {corruption!r} and {severity}."
        )
    level, change = SEVERITIES[corruption][severity - 1], _CHANGES[corruption]
    order = list(SEVERITIES).index(corruption)
    return np.stack([
        change(crop, level, np.random.default_rng((seed, order, severity, index))) for index, crop in enumerate(crops)
    ])  # fmt: skip


def reframe(crops: np.ndarray, *, scale: float = 1.0, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """Make faces larger in their crops `(count, side, side, 3)`, and shift them by a share of the side.

    To which side each is shifted is drawn; what comes into the crop is black, as beyond the edge of a picture.
    """
    side = crops.shape[1]
    centre = ((side - 1) / 2, (side - 1) / 2)
    moved = []
    for crop, angle in zip(crops, np.random.default_rng(seed).uniform(0, 2 * np.pi, len(crops)), strict=True):
        matrix = cv2.getRotationMatrix2D(centre, 0, scale)
        matrix[:, 2] += shift * side * np.array([np.cos(angle), np.sin(angle)])
        moved.append(cv2.warpAffine(crop, matrix, (side, side), borderValue=0))
    return np.stack(moved)


def shrink(picture: np.ndarray, scale: float) -> np.ndarray:
    """Make a picture smaller."""
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _to_pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _noise(crop: np.ndarray, deviation: float, generator: np.random.Generator) -> np.ndarray:
    return _to_pixels(crop + generator.normal(0, deviation, crop.shape))


def _blur(crop: np.ndarray, sigma: float, _generator: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(crop, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _motion_blur(crop: np.ndarray, length: float, generator: np.random.Generator) -> np.ndarray:
    side = int(length)
    line = np.zeros((side, side), np.float32)
    line[side // 2] = 1
    centre = ((side - 1) / 2, (side - 1) / 2)
    kernel = cv2.warpAffine(line, cv2.getRotationMatrix2D(centre, generator.uniform(0, 180), 1), (side, side))
    return cv2.filter2D(crop, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _jpeg(crop: np.ndarray, quality: float, _generator: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(compress(crop[..., ::-1], int(quality))[..., ::-1])


def _bright_light(crop: np.ndarray, factor: float, _generator: np.random.Generator) -> np.ndarray:
    return _to_pixels(crop * factor)


def _low_light(crop: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Less light, and the noise of a sensor that makes up for some of it."""
    photons_of_white = 480
    counted = generator.poisson(crop / 255.0 * share * photons_of_white)
    return _to_pixels(255 * counted / photons_of_white)


def _contrast(crop: np.ndarray, share: float, _generator: np.random.Generator) -> np.ndarray:
    mean = crop.mean(axis=(0, 1), keepdims=True)
    return _to_pixels(mean + share * (crop - mean))


def _resolution(crop: np.ndarray, side: float, _generator: np.random.Generator) -> np.ndarray:
    small = cv2.resize(crop, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _occlusion(crop: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """A plain ellipse, as of a hand or a microphone, somewhere over the face."""
    height, width = crop.shape[:2]
    ratio = generator.uniform(0.6, 1.6)
    radius = np.sqrt(share * height * width / np.pi)
    axes = (round(float(radius * np.sqrt(ratio))), round(float(radius / np.sqrt(ratio))))
    centre = tuple(int(value) for value in generator.uniform(0.2, 0.8, 2) * (width, height))
    colour = tuple(int(value) for value in generator.integers(0, 256, 3))
    covered = np.ascontiguousarray(crop.copy())
    return cv2.ellipse(covered, centre, axes, generator.uniform(0, 180), 0, 360, colour, cv2.FILLED, cv2.LINE_AA)


def _rotation(crop: np.ndarray, degrees: float, generator: np.random.Generator) -> np.ndarray:
    """A face that was not brought upright: turned to a side that is drawn."""
    height, width = crop.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees * generator.choice((-1, 1)), 1)
    return cv2.warpAffine(crop, turn, (width, height), borderMode=cv2.BORDER_REFLECT)


_CHANGES: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "gaussian noise": _noise,
    "blur": _blur,
    "motion blur": _motion_blur,
    "jpeg": _jpeg,
    "bright light": _bright_light,
    "low light": _low_light,
    "contrast": _contrast,
    "resolution": _resolution,
    "occlusion": _occlusion,
    "rotation": _rotation,
}
