import numpy as np
import pytest

from training.synthetic.rasteriser import blend, rasterise

SIZE = 24


def soup(seed, count=30):
    """Random triangles that stick out of the picture, all counter-clockwise as seen."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(-6, SIZE + 6, (3 * count, 2))
    nearness = generator.uniform(0.1, 1, 3 * count)
    triangles = np.arange(3 * count).reshape(count, 3)
    for triangle in triangles:
        if facing(points[triangle]) < 0:
            triangle[1:] = triangle[:0:-1].copy()
    return points, nearness, triangles


def facing(corners):
    (ax, ay), (bx, by), (cx, cy) = corners
    return -((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))  # y is down


def slowly(points, nearness, triangles, x, y):
    """What pixel (x, y) shows: the nearness and the triangle, by solving for the shares one triangle at a time."""
    best = (-np.inf, None)
    for triangle in triangles:
        if facing(points[triangle]) <= 0:
            continue
        equations = np.vstack([points[triangle].T, np.ones(3)])
        shares = np.linalg.solve(equations, [x, y, 1])
        if (shares >= 0).all():
            best = max(best, (float(shares @ nearness[triangle]), tuple(triangle)))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_every_pixel_shows_the_nearest_triangle_on_it(seed):
    points, nearness, triangles = soup(seed)
    pixels, corners, shares = rasterise(points, nearness, triangles, SIZE)
    shown = dict(zip(pixels.tolist(), zip(corners, shares, strict=True), strict=True))
    for y in range(SIZE):
        for x in range(SIZE):
            near, triangle = slowly(points, nearness, triangles, x, y)
            assert (triangle is not None) == (y * SIZE + x in shown)
            if triangle is not None:
                found, found_shares = shown[y * SIZE + x]
                assert set(found) == set(triangle)
                assert found_shares @ nearness[found] == pytest.approx(near, abs=1e-5)


def test_what_is_seen_from_behind_is_not_drawn():
    points, nearness, triangles = soup(0)
    assert len(rasterise(points, nearness, triangles[:, ::-1], SIZE)[0]) == 0


def test_nothing_in_the_picture_shows_nothing():
    points, nearness, triangles = soup(1)
    for shift in (-100, 100):
        pixels, corners, shares = rasterise(points + shift, nearness, triangles, SIZE)
        assert len(pixels) == len(corners) == len(shares) == 0


def test_blending_places_gives_the_pixel():
    points, nearness, triangles = soup(2)
    pixels, corners, shares = rasterise(points, nearness, triangles, SIZE)
    places = np.stack([pixels % SIZE, pixels // SIZE], axis=1)
    np.testing.assert_allclose(blend(points, corners, shares), places, atol=1e-4)
