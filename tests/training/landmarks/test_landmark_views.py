import numpy as np
import pytest
import torch

from dfer_hf.faces.alignment import ARCFACE_TEMPLATE, CROP_SIZE
from training.landmarks.landmark_views import MIRRORED, LandmarkViews, random_colour, random_resolution

from ..face_kits import layout68

SIDE = 96
MARKED = 36


def marked_faces(count, *, colour):
    """Black pictures with one soft white dot, at the outer corner of the left eye."""
    generator = np.random.default_rng(0)
    landmarks = layout68() * (3.0, -3.0) + SIDE / 2 + generator.normal(0, 3, (count, 1, 2))
    y, x = np.mgrid[:SIDE, :SIDE]
    gaps = (x - landmarks[:, MARKED, 0, None, None]) ** 2 + (y - landmarks[:, MARKED, 1, None, None]) ** 2
    images = (255 * np.exp(-gaps / 8)).astype(np.uint8)
    return LandmarkViews(np.stack([images] * 3, axis=-1) if colour else images, landmarks)


def test_a_mirrored_face_has_its_landmarks_swapped():
    face = torch.from_numpy(layout68())
    torch.testing.assert_close(face[MIRRORED] * torch.tensor([-1, 1]), face, rtol=0, atol=1e-9)
    assert torch.equal(MIRRORED[MIRRORED], torch.arange(68))


@pytest.mark.parametrize("colour", [True, False])
def test_landmarks_lie_where_the_face_is_seen(colour):
    views = marked_faces(8, colour=colour)
    pixels, places = views.batch(torch.arange(8), 56)
    assert pixels.shape == (8, 3, 56, 56)
    for view, place in zip(pixels.mean(dim=1), places[:, MARKED], strict=True):
        top = divmod(int(view.argmax()), 56)
        np.testing.assert_allclose(top[::-1], place * 56 - 0.5, atol=0.8)
    five = torch.stack([places[:, 36:42].mean(dim=1), places[:, 42:48].mean(dim=1)], dim=1) * CROP_SIZE - 0.5
    assert (five - torch.from_numpy(ARCFACE_TEMPLATE[:2])).norm(
        dim=-1
        # The layout is no real face.
    ).max() < 12


def test_random_views_carry_their_landmarks_along(monkeypatch):
    for name in ("random_light", "random_sharpness", "random_cover", "random_surround"):
        monkeypatch.setattr(f"training.data.transforms.{name}", lambda images, *_args, **_fields: images)
    monkeypatch.setattr("training.landmarks.landmark_views.random_resolution", lambda images, _generator: images)
    views = marked_faces(6, colour=True)
    pixels, places = views.training_batch(40, 112, torch.Generator().manual_seed(0))
    mirrored = 0
    for view, landmarks in zip(pixels.mean(dim=1), places, strict=True):
        top = divmod(int(view.argmax()), 112)
        turned = landmarks[0, 0] > landmarks[16, 0]
        # Landmark 0 is the left end of the jaw in every view.
        assert not turned
        gaps = (landmarks[[MARKED, int(MIRRORED[MARKED])]] * 112 - 0.5 - torch.tensor(top[::-1])).norm(dim=-1)
        assert gaps.min() < 2
        mirrored += int(gaps.argmin())
    assert 10 < mirrored < 30


def test_colours_are_taken_away_from_some_and_added_to_others():
    generator = torch.Generator().manual_seed(0)
    coloured = torch.rand(60, 3, 1, 1, generator=generator).expand(-1, -1, 8, 8)
    grey = coloured[:, :1].expand(-1, 3, -1, -1)

    def share_of_grey(images):
        return (images[:, 0] == images[:, 2]).flatten(1).all(dim=1).float().mean()

    assert 0.2 < share_of_grey(random_colour(coloured, generator)) < 0.5  # half, less the third that is tinted
    assert 0.5 < share_of_grey(random_colour(grey, generator)) < 0.85


def test_resolution_falls_and_the_picture_stays_in_place():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 64, 64, generator=generator)
    coarse = random_resolution(images, generator, chance=1.0)
    assert coarse.shape == images.shape
    assert (coarse.std(dim=(1, 2, 3)) < 0.9 * images.std(dim=(1, 2, 3))).all()
    torch.testing.assert_close(coarse.mean(dim=(2, 3)), images.mean(dim=(2, 3)), rtol=0, atol=0.02)
    torch.testing.assert_close(random_resolution(images, generator, chance=0.0), images)
