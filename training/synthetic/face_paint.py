"""Colours and light for a face model: which vertex is lip, brow or hair, and how bright a light makes it."""

from dataclasses import dataclass

import numpy as np

from training.synthetic.ict_facekit import FaceKit, Part
from training.synthetic.rasteriser import blend, rasterise

MONK_SCALE = np.array([
    (246, 237, 228), (243, 231, 219), (247, 234, 208), (234, 218, 186), (215, 189, 150),
    (160, 126, 86), (130, 92, 67), (96, 65, 52), (58, 49, 42), (41, 36, 32),
]) / 255  # fmt: skip
"""Tones of skin, lightest first (Monk Skin Tone Scale, 2019)."""

IRIS_TONES = np.array([(0.22, 0.13, 0.07), (0.35, 0.22, 0.1), (0.3, 0.42, 0.5), (0.35, 0.42, 0.28)])
HAIR_TONES = np.array([(0.05, 0.04, 0.04), (0.2, 0.13, 0.08), (0.45, 0.32, 0.18), (0.7, 0.6, 0.42), (0.6, 0.6, 0.6)])
OUTER_LIP, LEFT_BROW, RIGHT_BROW = range(48, 60), range(17, 22), range(22, 27)
LEFT_EYE, RIGHT_EYE = range(36, 42), range(42, 48)
IRIS_RADIANS, PUPIL_RADIANS = 0.5, 0.2
GAMMA = 2.2


@dataclass(frozen=True)
class Look:
    """How a person is painted; colours are RGB in 0 to 1, lengths those of the face model.

    Args:
        skin: Tone of the skin.
        lips: Tone of the lips, and in `lip_strength` how much of it there is.
        hair: Tone of hair, brows and beard.
        iris: Tone of the iris.
        cloth: Tone of clothes.
        hairline: Height above which there is hair; far above the head for none.
        brow_height: Half of the thickness of the brows, and in `brow_strength` how dark they are.
        beard: Strength of the beard.
        lash: Strength of the line of the lashes.
        flush: Redness of cheeks and nose.
        blotches: Strength of the uneven tone.
        gloss: Strength of highlights.
        seed: Seed of the uneven tone.
    """

    skin: np.ndarray
    lips: np.ndarray
    lip_strength: float
    hair: np.ndarray
    iris: np.ndarray
    cloth: np.ndarray
    hairline: float
    brow_height: float
    brow_strength: float
    beard: float
    lash: float
    flush: float
    blotches: float
    gloss: float
    seed: int


@dataclass(frozen=True)
class Light:
    """What falls on the face.

    Args:
        ambient: Colour from all around.
        directions: Unit vectors to the lamps, `(lamps, 3)`.
        lamps: Their colours, `(lamps, 3)`.
        exposure: Brightness of the face in the picture, 0 to 1, before its gamma.
    """

    ambient: np.ndarray
    directions: np.ndarray
    lamps: np.ndarray
    exposure: float


def draw_look(generator: np.random.Generator) -> Look:
    """Draw a person's colours."""
    tone = generator.uniform(0, len(MONK_SCALE) - 1)
    lighter = min(int(tone), len(MONK_SCALE) - 2)
    skin = MONK_SCALE[lighter] + (tone - lighter) * (MONK_SCALE[lighter + 1] - MONK_SCALE[lighter])
    hair = HAIR_TONES[generator.integers(len(HAIR_TONES)) if tone < 5 else generator.integers(2)]
    painted = np.array([generator.uniform(0.4, 0.85), generator.uniform(0.05, 0.3), generator.uniform(0.1, 0.35)])
    bare = skin * (0.85, 0.6, 0.6)
    return Look(
        skin=skin * generator.normal(1, 0.04, 3),
        lips=painted if generator.random() < 0.2 else bare,
        lip_strength=generator.uniform(0.25, 1),
        hair=hair * generator.uniform(0.7, 1.3),
        iris=IRIS_TONES[generator.integers(len(IRIS_TONES)) if tone < 4 else generator.integers(2)],
        cloth=generator.random(3),
        hairline=generator.uniform(8.3, 11.5) if generator.random() < 0.85 else 99.0,
        brow_height=generator.uniform(0.2, 0.55),
        brow_strength=generator.uniform(0.1, 0.9),
        beard=generator.uniform(0.1, 0.9) if generator.random() < 0.3 else 0.0,
        lash=generator.uniform(0.1, 0.9),
        flush=generator.uniform(0, 0.25),
        blotches=generator.uniform(0, 0.05),
        gloss=generator.uniform(0, 0.35) ** 2,
        seed=int(generator.integers(2**31)),
    )


def draw_light(generator: np.random.Generator) -> Light:
    """Draw light from all around and one to three lamps, mostly above and before the face."""
    count = int(generator.integers(1, 4))
    directions = generator.normal((0, 0.5, 0.9), (0.9, 0.5, 0.5), (count, 3))
    tint = generator.normal(1, 0.08, (count + 1, 3)).clip(0.7, 1.3)
    return Light(
        ambient=generator.uniform(0.15, 0.8) * tint[0],
        directions=directions / np.linalg.norm(directions, axis=1, keepdims=True),
        lamps=generator.uniform(0.2, 1, (count, 1)) * tint[1:],
        exposure=generator.uniform(0.08, 0.6),
    )


def distance_to_line(places: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance of places `(n, 2)` from the nearest point of a line through points `(k, 2)`."""
    start, along = line[:-1], np.diff(line, axis=0)
    share = ((places[:, None] - start) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-12)
    nearest = start + share.clip(0, 1)[..., None] * along  # (n, k - 1, 2)
    return np.linalg.norm(places[:, None] - nearest, axis=-1).min(axis=1)


def is_inside(places: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Whether points `(n, 2)` are inside a closed outline `(k, 2)`."""
    start, end = outline, np.roll(outline, -1, axis=0)
    x, y = places[:, :1], places[:, 1:]
    # A ray to the right of a point inside crosses the outline an odd number of times.
    spans = (start[:, 1] > y) != (end[:, 1] > y)  # (n, k)
    rise = np.where(start[:, 1] == end[:, 1], 1.0, end[:, 1] - start[:, 1])
    crossing = start[:, 0] + (y - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    return (spans & (x < crossing)).sum(axis=1) % 2 == 1


def soft_step(values: np.ndarray, softness: float) -> np.ndarray:
    """Rise from 0 to 1 around 0, over about four times `softness`."""
    return 1 / (1 + np.exp(-(values / softness).clip(-30, 30)))


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals of the surface at the vertices, `(vertices, 3)`; larger triangles count for more."""
    first, second, third = (vertices[triangles[:, corner]] for corner in range(3))
    of_triangles = np.cross(second - first, third - first)
    corners = triangles.T.ravel()
    sums = [np.bincount(corners, np.tile(of_triangles[:, axis], 3), len(vertices)) for axis in range(3)]
    normals = np.stack(sums, axis=1).astype(np.float32)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def openness(kit: FaceKit, num_directions: int = 64, size: int = 160) -> np.ndarray:
    """How much of the light from all around reaches each vertex of the face at rest, `(vertices,)` in 0 to 1."""
    normals = vertex_normals(kit.neutral, kit.triangles)
    middle = (kit.neutral.max(axis=0) + kit.neutral.min(axis=0)) / 2
    radius = np.linalg.norm(kit.neutral - middle, axis=1).max() + 1e-6
    reached, possible = np.zeros(len(normals)), np.full(len(normals), 1e-9)
    # A spiral spreads them evenly over the sphere.
    for number in range(num_directions):
        height = 1 - (2 * number + 1) / num_directions
        turn = number * np.pi * (3 - 5**0.5)
        forward = np.array([np.cos(turn) * (1 - height**2) ** 0.5, height, np.sin(turn) * (1 - height**2) ** 0.5])
        right = np.cross((0.0, 1.0, 0.0), forward)
        right /= np.linalg.norm(right)
        seen = (kit.neutral - middle) @ np.stack([right, np.cross(forward, right), forward], axis=1) / radius
        points = (seen[:, :2] * (1, -1) + 1) * (size - 1) / 2
        pixels, corners, shares = rasterise(points, seen[:, 2], kit.triangles, size)
        surface = np.full(size * size, -9.0)
        surface[pixels] = blend(seen[:, 2:], corners, shares)[:, 0]
        column, row = points.round().astype(int).clip(0, size - 1).T
        cosine = np.maximum(normals @ forward, 0)
        # A pixel holds surface of many depths.
        slack = 3 / size
        reached += cosine * (seen[:, 2] > surface[row * size + column] - slack)
        possible += cosine
    return (reached / possible).astype(np.float32)


class FacePaint:
    """The part of a face model's paint that is the same for all people: where things are on the face at rest.

    Args:
        kit: The face model.
    """

    def __init__(self, kit: FaceKit) -> None:
        self.kit = kit
        self.openness = openness(kit)
        places, marks = kit.neutral, kit.neutral[kit.landmarks]
        self.is_skin = np.isin(kit.parts, (Part.FACE, Part.HEAD))
        is_front = (kit.parts == Part.FACE) & (places[:, 2] > marks[:, 2].min())
        flat = places[:, :2]
        lips = marks[OUTER_LIP, :2]
        signed = np.where(is_inside(flat, lips), 1, -1) * distance_to_line(flat, np.vstack([lips, lips[:1]]))
        self.lips = soft_step(signed, 0.08) * is_front
        brows = [marks[list(brow), :2] - (0, 0.15) for brow in (LEFT_BROW, RIGHT_BROW)]
        self.from_brow = np.where(is_front, np.min([distance_to_line(flat, brow) for brow in brows], axis=0), 99)
        self.brow_taper = 1 - 0.6 * (abs(flat[:, 0]) / abs(brows[0][:, 0]).max()).clip(0, 1) ** 2
        lids = [np.vstack([marks[list(eye), :2], marks[eye[:1], :2]]) for eye in (LEFT_EYE, RIGHT_EYE)]
        self.from_lid = np.where(is_front, np.min([distance_to_line(flat, lid) for lid in lids], axis=0), 99)
        nose, chin = marks[33], marks[8]
        below_nose = soft_step(nose[1] - 0.4 - flat[:, 1], 0.25) * soft_step(flat[:, 1] - chin[1] + 1.5, 0.3)
        self.beard = below_nose * is_front * (1 - self.lips)
        cheeks = [np.exp(-((flat - (side * 4, 0.3)) ** 2).sum(axis=1) / 4) for side in (-1, 1)]
        self.flush = (sum(cheeks) + np.exp(-((places - marks[30]) ** 2).sum(axis=1) / 2)) * is_front
        eyes = kit.parts == Part.EYE
        # Unit vectors; zero where there is no eye.
        self.from_eye_middle = np.zeros_like(places)
        for side in (places[:, 0] < 0, places[:, 0] >= 0):
            ball = eyes & side
            if ball.any():
                out = places[ball] - (places[ball].max(axis=0) + places[ball].min(axis=0)) / 2
                self.from_eye_middle[ball] = out / np.linalg.norm(out, axis=1, keepdims=True)

    def hair(self, hairline: float) -> np.ndarray:
        """How much hair covers each vertex, `(vertices,)`; the line falls towards the ears and the neck."""
        x, y, z = self.kit.neutral.T
        line = hairline - 1.5 * np.maximum(0, 6 - z)
        is_ear = (abs(x) > 7.3) & (y < 5) & (z > -4)
        return soft_step(y - line, 0.3) * self.is_skin * ~is_ear * (y > -9)

    def unevenness(self, seed: int) -> np.ndarray:
        """Smooth random values of about unit size over the vertices, `(vertices,)`."""
        generator = np.random.default_rng(seed)
        waves = generator.normal(size=(3, 8)) * generator.uniform(0.2, 2, 8)
        phases = generator.uniform(0, 2 * np.pi, 8)
        angles = self.kit.neutral @ waves.astype(np.float32) + phases.astype(np.float32)
        return np.sin(angles).sum(axis=1) / 2

    def albedo(self, look: Look) -> np.ndarray:
        """Colours of the vertices without light, `(vertices, 3)`; eyes are painted by the pixel instead."""
        uneven = self.unevenness(look.seed)
        colours = np.tile(look.skin, (len(uneven), 1)) * (1 + look.blotches * uneven[:, None])
        colours *= 1 - look.flush * self.flush[:, None] * (0, 0.6, 0.5)

        def cover(mask: np.ndarray, tone: np.ndarray | tuple[float, float, float]) -> None:
            colours[:] += mask[:, None] * (np.asarray(tone) - colours)

        cover(self.lips * look.lip_strength, look.lips)
        cover(self.beard * look.beard * (0.8 + 0.2 * uneven).clip(0, 1), look.hair)
        brow = soft_step(look.brow_height * self.brow_taper - self.from_brow, 0.08)
        cover(brow * look.brow_strength * (0.85 + 0.15 * uneven).clip(0, 1), look.hair)
        cover(look.lash * np.exp(-((self.from_lid / 0.15) ** 2)), (0.05, 0.03, 0.03))
        cover(self.hair(look.hairline), look.hair * (1 + 0.15 * uneven[:, None]))
        cover(soft_step(-13 - self.kit.neutral[:, 1], 0.2) * self.is_skin, look.cloth)
        for part, tone in (
            (Part.MOUTH_SOCKET, (0.35, 0.1, 0.1)),
            (Part.GUMS, (0.6, 0.3, 0.3)),
            (Part.TEETH, (0.9, 0.87, 0.8)),
        ):
            cover((self.kit.parts == part).astype(float), tone)
        return colours.clip(0.005, 1)

    def eye_colours(self, out: np.ndarray, gaze: np.ndarray, look: Look) -> np.ndarray:
        """Colours of places on the eyeballs, `(n, 3)`, by unit vectors from the eye's middle `(n, 3)` and the gaze."""
        angle = np.arccos((out @ gaze).clip(-1, 1))
        colours = np.tile((0.88, 0.86, 0.84), (len(angle), 1))
        colours += soft_step(IRIS_RADIANS - angle, 0.02)[:, None] * (look.iris - colours)
        return colours * (1 - 0.95 * soft_step(PUPIL_RADIANS - angle, 0.02)[:, None])

    def light_up(self, normals: np.ndarray, light: Light, gloss: float) -> tuple[np.ndarray, np.ndarray]:
        """Light that a white surface sends back and highlights on top of it, `(vertices, 3)` each."""
        sky = (0.65 + 0.35 * normals[:, 1]) * self.openness
        diffuse = sky[:, None] * light.ambient
        highlight = np.zeros_like(diffuse)
        reach = 0.35 + 0.65 * self.openness
        for direction, lamp in zip(light.directions, light.lamps, strict=True):
            diffuse += (reach * np.maximum(normals @ direction, 0))[:, None] * lamp
            halfway = direction + np.array([0, 0, 1])
            shine = np.maximum(normals @ (halfway / np.linalg.norm(halfway)), 0) ** 24
            highlight += (gloss * reach * shine)[:, None] * lamp
        return diffuse, highlight
