"""Bring a face to a 112×112 crop by five points, and bring maps of the crop back to the frame."""

import cv2
import numpy as np

CROP_SIZE = 112

ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the eyes, the nose and the corners of the mouth go in a 112×112 crop (ArcFace, Deng et al. 2019)."""


def similarity_transform(points: np.ndarray, size: int = CROP_SIZE) -> np.ndarray:
    """Fit the similarity that brings five points nearest to the template.

    Rotation, scale and shift without reflection, by least squares; points are taken as complex numbers.

    Args:
        points: Left eye, right eye, nose, left and right mouth corner in pixels, shape `(..., 5, 2)`.
        size: Side of the crop in pixels.

    Returns:
        Transforms from frame to crop, shape `(..., 2, 3)`.

    Raises:
        ValueError: If the points are not five pairs of finite numbers, or all coincide.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape[-2:] != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"Expected five finite (x, y) points of shape (..., 5, 2), got shape {points.shape}.")
    source = points[..., 0] + 1j * points[..., 1]
    template = (ARCFACE_TEMPLATE * (size / CROP_SIZE)) @ np.array([1, 1j])
    source_mean, template_mean = source.mean(axis=-1, keepdims=True), template.mean()
    spread = (np.abs(source - source_mean) ** 2).sum(axis=-1)
    if (spread < 1e-9).any():
        raise ValueError("Expected five distinct points, but they coincide; the face cannot be aligned.")
    turn = (np.conj(source - source_mean) * (template - template_mean)).sum(axis=-1) / spread
    shift = template_mean - turn * source_mean[..., 0]
    rows = (
        np.stack([turn.real, -turn.imag, shift.real], axis=-1),
        np.stack([turn.imag, turn.real, shift.imag], axis=-1),
    )
    return np.stack(rows, axis=-2)


def invert(transform: np.ndarray) -> np.ndarray:
    """Return the transform from crop to frame of one from frame to crop, both `(2, 3)`."""
    return cv2.invertAffineTransform(transform)


def align(rgb: np.ndarray, points: np.ndarray, size: int = CROP_SIZE) -> np.ndarray:
    """Cut the aligned face out of a frame.

    Args:
        rgb: Frame, uint8 of shape `(height, width, 3)`.
        points: Five points in pixels of the frame, shape `(5, 2)`.
        size: Side of the crop in pixels.

    Returns:
        Crop, uint8 of shape `(size, size, 3)`; black where it reaches beyond the frame.
    """
    points = np.asarray(points, dtype=np.float64)
    transform = similarity_transform(points, size)
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    # warpAffine samples single pixels: shrink large faces first or they alias.
    if scale < 0.5:
        left, top, right, bottom = region_of_crop(transform, rgb.shape[:2], size=size, margin=4)
        if left >= right or top >= bottom:
            return np.zeros((size, size, 3), dtype=np.uint8)
        rgb = cv2.resize(rgb[top:bottom, left:right], None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        shrink = np.array([rgb.shape[1] / (right - left), rgb.shape[0] / (bottom - top)])
        transform = similarity_transform((points - (left, top) + 0.5) * shrink - 0.5, size)
    return cv2.warpAffine(rgb, transform, (size, size), flags=cv2.INTER_LINEAR, borderValue=0)


def region_of_crop(
    transform: np.ndarray, frame_size: tuple[int, int], *, size: int = CROP_SIZE, margin: int = 1
) -> tuple[int, int, int, int]:
    """Find the upright part of a frame that holds all a crop shows of it.

    Args:
        transform: From frame to crop, `(2, 3)`.
        frame_size: Height and width of the frame in pixels.
        size: Side of the crop in pixels.
        margin: How many pixels wider the part is on every side.

    Returns:
        Left, top, right and bottom in pixels, within the frame; empty when the crop lies outside it.
    """
    corners = np.array([(0, 0, 1), (size, 0, 1), (0, size, 1), (size, size, 1)])
    places = corners @ invert(transform).T
    height, width = frame_size
    left, top = np.clip(np.floor(places.min(axis=0)) - margin, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(places.max(axis=0)) + margin, 0, (width, height)).astype(int)
    return int(left), int(top), int(right), int(bottom)


def place_on_frame(crop_map: np.ndarray, points: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    """Draw a map of the crop back where the face was.

    Args:
        crop_map: Values over the crop, float of shape `(height, width)`, any resolution.
        points: The five points the crop was aligned by, in pixels of the frame, shape `(5, 2)`.
        frame_size: Height and width of the frame in pixels.

    Returns:
        The map over the frame, float32 of shape `frame_size`; zero outside the crop.
    """
    crop_map = cv2.resize(crop_map.astype(np.float32), (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_CUBIC)
    height, width = frame_size
    transform = similarity_transform(points)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(crop_map, transform, (width, height), flags=flags, borderValue=0)
    return np.clip(placed, 0.0, None)


def five_points_of_68(points: np.ndarray) -> np.ndarray:
    """Reduce iBUG-68 landmarks `(..., 68, 2)` to the five points of alignment `(..., 5, 2)`."""
    left_eye = points[..., 36:42, :].mean(axis=-2)
    right_eye = points[..., 42:48, :].mean(axis=-2)
    return np.stack([left_eye, right_eye, points[..., 30, :], points[..., 48, :], points[..., 54, :]], axis=-2)
