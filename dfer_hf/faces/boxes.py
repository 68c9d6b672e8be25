"""Measure and compare boxes of left, top, right and bottom."""

import numpy as np


def box_area(box: tuple[float, float, float, float]) -> float:
    """Area of one box in square pixels."""
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def distances(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Between the centres of `(N, 4)` and `(M, 4)` boxes, `(N, M)`."""
    centres, other_centres = ((edges[:, :2] + edges[:, 2:]) / 2 for edges in (boxes, others))
    return np.linalg.norm(centres[:, None] - other_centres, axis=2)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of `(N, 4)` with `(M, 4)` boxes, `(N, M)`."""
    corner = np.maximum(boxes[:, None, :2], others[:, :2])
    shared = np.maximum(np.minimum(boxes[:, None, 2:], others[:, 2:]) - corner, 0).prod(axis=2)
    return shared / np.maximum(areas(boxes)[:, None] + areas(others) - shared, 1e-6)


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas of `(N, 4)` boxes, `(N,)`."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
