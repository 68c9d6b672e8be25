"""Draw triangles into a picture with a depth buffer, in numpy alone."""

import numpy as np

_FARTHEST = np.iinfo(np.int64).max


def rasterise(
    points: np.ndarray, nearness: np.ndarray, triangles: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find what each pixel of a square picture shows.

    Triangles that are clockwise on the picture are seen from behind and not drawn. Every triangle proposes all pixel
    centres inside it; the nearest proposal of each pixel stays.

    Args:
        points: Where the vertices lie in pixels, y down, pixel centres at whole numbers, `(vertices, 2)`.
        nearness: What grows towards the camera and is linear on the picture, such as 1 / distance, `(vertices,)`.
        triangles: Vertex indices, counter-clockwise as seen from outside, `(triangles, 3)`.
        size: Side of the picture in pixels.

    Returns:
        For the pixels that show something: their index in the flattened picture `(shown,)`, the vertices of the
        triangle `(shown, 3)`, and the share of each vertex `(shown, 3)`.
    """
    first, second, third = (points[triangles[:, corner]] for corner in range(3))
    edge_1, edge_2 = second - first, third - first
    area = edge_1[:, 1] * edge_2[:, 0] - edge_1[:, 0] * edge_2[:, 1]  # positive when seen from outside, as y is down
    low = np.ceil(np.minimum(np.minimum(first, second), third)).clip(0, size)
    high = np.floor(np.maximum(np.maximum(first, second), third)).clip(-1, size - 1)
    spans = (high - low + 1).astype(np.int64)
    drawn = (area > 1e-9) & (spans > 0).all(axis=1)
    triangles, first, edge_1, edge_2 = triangles[drawn], first[drawn], edge_1[drawn], edge_2[drawn]
    low, spans, area = low[drawn].astype(np.int64), spans[drawn], area[drawn]

    # The shares of the second and third vertex at a pixel are linear in its coordinates.
    slopes = (
        np.stack([np.stack([-edge_2[:, 1], edge_2[:, 0]]), np.stack([edge_1[:, 1], -edge_1[:, 0]])]) / area
    )  # (2 shares, 2 coordinates, triangles)
    near = nearness[triangles].T  # (3, triangles)

    counts = spans[:, 0] * spans[:, 1]
    owner = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(place, spans[owner, 0])
    x, y = low[owner, 0] + column, low[owner, 1] + row
    right, down = x - first[owner, 0], y - first[owner, 1]
    share_2 = slopes[0, 0, owner] * right + slopes[0, 1, owner] * down
    share_3 = slopes[1, 0, owner] * right + slopes[1, 1, owner] * down
    inside = np.flatnonzero((share_2 >= 0) & (share_3 >= 0) & (share_2 + share_3 <= 1))
    owner, share_2, share_3 = owner[inside], share_2[inside], share_3[inside]
    pixel = y[inside] * size + x[inside]

    depth = -(near[0, owner] + share_2 * (near[1] - near[0])[owner] + share_3 * (near[2] - near[0])[owner])
    low_depth, high_depth = (depth.min(), depth.max()) if len(depth) else (0.0, 1.0)
    rank = ((depth - low_depth) / max(high_depth - low_depth, 1e-12) * 2**30).astype(np.int64)
    nearest = np.full(size * size, _FARTHEST)
    # Depth first; the proposal breaks ties.
    np.minimum.at(nearest, pixel, rank << 32 | np.arange(len(pixel)))
    shown = np.flatnonzero(nearest != _FARTHEST)
    winner = nearest[shown] & 0xFFFFFFFF
    shares = np.stack([1 - share_2[winner] - share_3[winner], share_2[winner], share_3[winner]], axis=1)
    return shown, triangles[owner[winner]], shares.astype(np.float32)


def blend(values: np.ndarray, corners: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Blend values of vertices `(vertices, k)` over pixels, as `rasterise` gives them, to `(shown, k)`."""
    first, second, third = (values[corners[:, corner]] * shares[:, corner, None] for corner in range(3))
    return first + second + third
