import cv2
import numpy as np
import pytest

from dfer_hf.faces.alignment import (
    ARCFACE_TEMPLATE,
    CROP_SIZE,
    align,
    five_points_of_68,
    invert,
    place_on_frame,
    similarity_transform,
)


def turned(points, degrees, scale, shift):
    angle = np.radians(degrees)
    matrix = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return points @ matrix.T + shift


def applied(transform, points):
    return points @ transform[:, :2].T + transform[:, 2]


def dots(points, size, radius):
    """Soft white dots on black, so that places can be measured below a pixel."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = np.zeros(size)
    for px, py in points:
        image = np.maximum(image, np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)))
    return (255 * image).round().astype(np.uint8)[..., None].repeat(3, axis=-1)


def centre_near(image, point, radius):
    """Centre of mass of what lies around a point."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    mass = image.astype(float) * (np.hypot(x - point[0], y - point[1]) < radius)
    return np.array([(x * mass).sum(), (y * mass).sum()]) / mass.sum()


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 1, (0, 0)), (25, 0.4, (30, 10)), (-160, 7.5, (-500, 800))]
)
def test_a_known_similarity_is_recovered_exactly(degrees, scale, shift):
    points = turned(ARCFACE_TEMPLATE, degrees, scale, shift)
    transform = similarity_transform(points)
    np.testing.assert_allclose(applied(transform, points), ARCFACE_TEMPLATE, atol=1e-9)
    np.testing.assert_allclose(np.hypot(transform[0, 0], transform[1, 0]), 1 / scale)
    np.testing.assert_allclose(applied(invert(transform), ARCFACE_TEMPLATE), points, atol=1e-6 * max(1, scale))


def test_the_fit_is_the_least_squares_solution():
    noise = np.random.default_rng(0).normal(0, 6, (5, 2))
    points = turned(ARCFACE_TEMPLATE, 12, 1.7, (40, 60)) + noise
    rows = [row for x, y in points for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    a, b, shift_x, shift_y = np.linalg.lstsq(np.array(rows), ARCFACE_TEMPLATE.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity_transform(points), [(a, -b, shift_x), (b, a, shift_y)], atol=1e-9)


def test_a_face_is_never_mirrored():
    mirrored = ARCFACE_TEMPLATE * (-1, 1) + (112, 0)
    for points in (ARCFACE_TEMPLATE, mirrored, turned(mirrored, 77, 2, (5, 5))):
        linear = similarity_transform(points)[:, :2]
        assert np.linalg.det(linear) > 0
        np.testing.assert_allclose(linear @ linear.T, np.linalg.det(linear) * np.eye(2), atol=1e-9)


def test_a_batch_equals_its_faces_one_by_one():
    generator = np.random.default_rng(0)
    points = ARCFACE_TEMPLATE * generator.uniform(0.5, 3, (2, 3, 1, 1)) + generator.normal(0, 8, (2, 3, 5, 2))
    together = similarity_transform(points)
    assert together.shape == (2, 3, 2, 3)
    for row in range(2):
        for column in range(3):
            np.testing.assert_allclose(together[row, column], similarity_transform(points[row, column]))


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.9, 2.6, 6.3])
def test_the_crop_has_the_five_points_where_the_template_has_them(scale):
    size = (int(300 + 100 * scale), int(340 + 110 * scale))
    points = turned(ARCFACE_TEMPLATE - 56, 14, scale, (size[1] * 0.52, size[0] * 0.49))
    crop = align(dots(points, size, radius=2.5 * scale), points)
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert crop.dtype == np.uint8
    for place in ARCFACE_TEMPLATE:
        np.testing.assert_allclose(centre_near(crop[..., 0], place, 8), place, atol=0.2)


def test_colours_stay_in_their_channels():
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[...] = (200, 100, 50)
    crop = align(frame, ARCFACE_TEMPLATE + 40)
    assert crop[56, 56].tolist() == [200, 100, 50]


def test_what_lies_beyond_the_frame_is_black():
    frame = np.full((100, 100, 3), 255, np.uint8)
    crop = align(frame, ARCFACE_TEMPLATE - (60, 0))
    assert (crop[:90, 62:] == 255).all()
    assert (crop[:, :58] == 0).all()


def test_large_faces_are_antialiased():
    """One-pixel stripes on a face ten times the crop are an even grey in it, not a pattern of their own."""
    frame = np.zeros((1200, 1200, 3), np.uint8)
    frame[:, ::2] = 255
    crop = align(frame, ARCFACE_TEMPLATE * 9.7 + 20)
    middle = crop[10:-10, 10:-10].astype(float)
    assert abs(middle.mean() - 127.5) < 8
    # Single pixels of it would be 0 or 255.
    assert middle.std() < 20


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (20, 0.5), (-35, 2.3)])
def test_a_map_comes_back_to_where_the_face_was(degrees, scale):
    points = turned(ARCFACE_TEMPLATE - 56, degrees, scale, (260, 240))
    for place, point in zip(ARCFACE_TEMPLATE, points, strict=True):
        crop_map = dots([place], (112, 112), radius=2)[..., 0] / 255
        placed = place_on_frame(crop_map, points, (480, 520))
        assert placed.shape == (480, 520)
        assert placed.dtype == np.float32
        assert placed.min() >= 0
        np.testing.assert_allclose(centre_near(placed, point, 12 * scale), point, atol=1)


def test_a_coarse_map_comes_back_to_where_the_face_was():
    crop_map = np.zeros((7, 7))
    crop_map[5, 1] = 1.0  # the middle of this cell is pixel (23.5, 87.5) of the crop
    points = ARCFACE_TEMPLATE + np.array([100, 50])
    placed = place_on_frame(crop_map, points, (300, 300))
    np.testing.assert_allclose(centre_near(placed, (123.5, 137.5), 14), (123.5, 137.5), atol=1)


def test_a_map_is_zero_outside_the_crop():
    placed = place_on_frame(np.ones((7, 7)), ARCFACE_TEMPLATE + 100, (400, 400))
    assert placed[102:210, 102:210].min() > 0.99
    assert placed[:99].max() == placed[:, :99].max() == placed[214:].max() == placed[:, 214:].max() == 0


def test_a_crop_and_its_way_back_are_inverse():
    y, x = np.mgrid[:240, :320]
    grey = (127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 11)).astype(np.uint8)
    points = turned(ARCFACE_TEMPLATE - 56, 10, 1.2, (160, 120))
    crop = align(grey[..., None].repeat(3, axis=-1), points)[..., 0]
    placed = place_on_frame(crop, points, (240, 320))
    inside = cv2.erode((placed > 0).astype(np.uint8), np.ones((9, 9)), borderValue=0).astype(bool)
    assert inside.sum() > 5000
    assert np.abs(placed - grey)[inside].max() < 6


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((4, 2)), "Expected five finite"),
        (np.zeros((5, 3)), "Expected five finite"),
        (np.full((5, 2), np.nan), "Expected five finite"),
        (np.where(np.arange(10).reshape(5, 2) == 3, np.inf, ARCFACE_TEMPLATE), "Expected five finite"),
        (np.full((5, 2), 7.0), "Expected five distinct points"),
        (np.stack([ARCFACE_TEMPLATE, np.ones((5, 2))]), "Expected five distinct points"),
    ],
    ids=["four", "three coordinates", "nan", "infinity", "coincide", "one of two coincides"],
)
def test_points_that_align_nothing_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        similarity_transform(points)


def test_five_of_sixty_eight_points():
    points = np.arange(136, dtype=float).reshape(68, 2)
    five = five_points_of_68(np.stack([points, points + 1]))
    assert five.shape == (2, 5, 2)
    np.testing.assert_allclose(five[0], [(77, 78), (89, 90), (60, 61), (96, 97), (108, 109)])
    np.testing.assert_allclose(five[1], five[0] + 1)
