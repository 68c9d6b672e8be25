"""A face model small enough for tests: a dome with two eyeballs on it and 68 landmarks that lie on its surface."""

import numpy as np

from training.synthetic.expressions import ACTION_SHAPES, FREE_SHAPES
from training.synthetic.ict_facekit import FaceKit, Part

WITHOUT_SIDES = ("jawOpen", "jawForward", "jawLeft", "jawRight", "mouthFunnel", "mouthPucker", "mouthLeft",
                 "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper")  # fmt: skip


def _arc(middle, radii, degrees):
    radians = np.radians(degrees)
    return np.stack([middle[0] + radii[0] * np.cos(radians), middle[1] + radii[1] * np.sin(radians)], axis=1)


def layout68():
    """A frontal face, x to the right and y up, as far from life as a circle drawn by a child."""
    left_eye = _arc((-3, 3.4), (1.3, 0.4), [180, 120, 60, 0, -60, -120])
    nose = [(0, 3.4), (0, 2.5), (0, 1.6), (0, 0.6), (-1.2, -1), (-0.6, -1.1), (0, -1.2), (0.6, -1.1), (1.2, -1)]
    return np.concatenate([
        _arc((0, 2), (7, 9), np.linspace(180, 360, 17)),
        _arc((-3.5, 4.5), (2.3, 1.2), np.linspace(160, 20, 5)),
        _arc((3.5, 4.5), (2.3, 1.2), np.linspace(160, 20, 5)),
        nose,
        left_eye,
        left_eye[[3, 2, 1, 0, 5, 4]] * (-1, 1),
        _arc((0, -3.4), (2.5, 1), np.arange(180, -180, -30)),
        _arc((0, -3.4), (2.1, 0.2), np.arange(180, -180, -45)),
    ])  # fmt: skip


def surface(places):
    return np.column_stack([places, 12 - (places**2).sum(axis=1) / 16]).astype(np.float32)


def tiny_kit(cells=20):
    side = np.linspace(-10, 10, cells)
    x, y = np.meshgrid(side, side)
    dome = surface(np.stack([x.ravel(), y.ravel()], axis=1))
    corner = (np.arange(cells - 1)[:, None] * cells + np.arange(cells - 1)).ravel()
    skin = np.concatenate([
        np.stack([corner, corner + 1, corner + cells + 1], axis=1),
        np.stack([corner, corner + cells + 1, corner + cells], axis=1),
    ])  # fmt: skip
    ball = np.array([(1, 0, 0), (-1, 0, 0), (0, 0.5, 0), (0, -0.5, 0), (0, 0, 0.6), (0, 0, -1)], np.float32)
    sides = np.array([(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4)])
    middles = surface(np.array([(-3, 3.4), (3, 3.4)]))
    eyes = [ball + middle for middle in middles]
    neutral = np.concatenate([dome, *eyes, surface(layout68())])
    parts = np.repeat([Part.FACE, Part.EYE, Part.FACE], [len(dome), 12, 68])
    first = len(dome)
    triangles = np.concatenate([skin, sides + first, sides + first + 6])

    shapes = {name for names in ACTION_SHAPES.values() for name in names} | set(FREE_SHAPES)
    shapes |= {"eyeBlink", "eyeLookUp", "eyeLookDown"}
    generator = np.random.default_rng(0)
    names = sorted(shapes & set(WITHOUT_SIDES)) + [
        f"{name}_{side}" for name in sorted(shapes - set(WITHOUT_SIDES)) for side in "LR"
    ]
    expressions = {}
    for name in names:
        centre = neutral[-68:][generator.integers(68)]
        near = np.exp(-((neutral - centre) ** 2).sum(axis=1, keepdims=True) / 4)
        expressions[name] = (near * generator.normal(0, 0.5, 3)).astype(np.float32)
    stretches = generator.normal(0, 0.02, (3, 1, 3)).astype(np.float32)
    return FaceKit(
        neutral=neutral,
        triangles=triangles,
        parts=parts,
        identities=stretches * neutral,
        expressions=expressions,
        landmarks=np.arange(len(neutral) - 68, len(neutral)),
    )
