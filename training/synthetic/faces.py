"""Pictures of faces whose landmarks, expression and intensity are known exactly.

`python -m training.synthetic.faces --face-kit <ict_facekit.npz> --output runs/renders --count 8000` renders a training
set. Every picture is aligned by its own five points, as `dfer_hf.faces` aligns a face, and shows some of its
surroundings.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dfer_hf.faces.alignment import CROP_SIZE, five_points_of_68, similarity_transform
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.synthetic.expressions import expression_shapes, free_shapes, on_both_sides
from training.synthetic.face_paint import GAMMA, FacePaint, Light, Look, draw_light, draw_look, vertex_normals
from training.synthetic.ict_facekit import FaceKit, Part, load_face_kit
from training.synthetic.rasteriser import blend, rasterise

PICTURE_SIZE = 128
WINDOW = 1.3
"""Side of the picture in sides of the aligned crop in its middle."""
OVERSAMPLING = 2
LEVEL = np.array([0, 0.12, 0])
"""Pose in which the face model looks straight ahead as people in photos do; at rest it looks up a little."""
SHARD = 500


@dataclass(frozen=True)
class Scene:
    """All that a picture shows; angles in radians.

    Args:
        identity: Components of the person, `(components,)`.
        shapes: Weights of the face model's blend shapes by name.
        pose: Yaw (to the right of the picture), pitch (down) and roll (clockwise).
        gaze: Yaw and pitch of the eyes in the head.
        distance: From the camera to the middle of the head, in lengths of the face model.
        look: The person's colours.
        light: What falls on the face.
        background: Colours behind the face, `(k, k, 3)`; enlarged to the picture.
    """

    identity: np.ndarray
    shapes: dict[str, float]
    pose: tuple[float, float, float]
    gaze: tuple[float, float]
    distance: float
    look: Look
    light: Light
    background: np.ndarray


@dataclass(frozen=True)
class Picture:
    """A rendered face.

    Args:
        rgb: uint8 of shape `(size, size, 3)`.
        points: The 68 landmarks in pixels, `(68, 2)`; a hidden one lies where its vertex does.
    """

    rgb: np.ndarray
    points: np.ndarray


def draw_scene(
    kit: FaceKit, generator: np.random.Generator, shapes: dict[str, float], *, turned: float = 1.0
) -> Scene:
    """Draw a person, a pose, colours, light and background around an expression.

    Args:
        kit: The face model.
        generator: Source of randomness.
        shapes: Weights of blend shapes, by names without their side.
        turned: Factor on how far heads are turned; 1 turns one in forty by more than 45 degrees.
    """
    asymmetry = {name: generator.normal(0, 0.15) for name in shapes}
    gaze = tuple(generator.normal(0, 0.2, 2).clip(-0.5, 0.5))
    looking = {"eyeLookDown": max(0.0, gaze[1]) * 1.5, "eyeLookUp": max(0.0, -gaze[1]) * 1.5}
    weights = on_both_sides(shapes | looking, list(kit.expressions), asymmetry)
    yaw, pitch, roll = (LEVEL + generator.normal(0, [0.35, 0.2, 0.15]) * turned).clip(-1, 1)
    cells = int(generator.integers(2, 24))
    tones = generator.random(3) + generator.normal(0, generator.uniform(0, 0.35), (cells, cells, 3))
    return Scene(
        identity=generator.normal(size=len(kit.identities)).astype(np.float32),
        shapes={name: min(weight, 1.0) for name, weight in weights.items() if weight > 0},
        pose=(float(yaw), float(pitch), float(roll)),
        gaze=(float(gaze[0]), float(gaze[1])),
        distance=float(np.exp(generator.uniform(np.log(35), np.log(250)))),
        look=draw_look(generator),
        light=draw_light(generator),
        background=tones.clip(0, 1).astype(np.float32),
    )


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The rotation that turns the head by a pose, `(3, 3)`, for column vectors."""
    cos, sin = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = np.array([(cos[0], 0, sin[0]), (0, 1, 0), (-sin[0], 0, cos[0])])
    about_x = np.array([(1, 0, 0), (0, cos[1], -sin[1]), (0, sin[1], cos[1])])
    about_z = np.array([(cos[2], sin[2], 0), (-sin[2], cos[2], 0), (0, 0, 1)])
    return about_z @ about_x @ about_y


class FaceRenderer:
    """Draws scenes of one face model.

    Args:
        kit: The face model.
        size: Side of the pictures in pixels.
    """

    def __init__(self, kit: FaceKit, size: int = PICTURE_SIZE) -> None:
        self.kit, self.size, self.paint = kit, size, FacePaint(kit)
        # About where a head turns.
        self.middle = kit.neutral[kit.landmarks].mean(axis=0) - (0, 0, 6)
        self.out_of_head = vertex_normals(kit.neutral, kit.triangles)

    def vertices(self, scene: Scene) -> np.ndarray:
        """Where the vertices are before the head is turned, `(vertices, 3)`."""
        vertices = self.kit.neutral + np.tensordot(scene.identity, self.kit.identities, axes=1)
        for name, weight in scene.shapes.items():
            vertices += weight * self.kit.expressions[name]
        return vertices

    def project(self, vertices: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Project turned vertices into the camera: `(vertices, 2)` with y down, without a unit, and 1 / distance."""
        turned = (vertices - self.middle) @ rotation(*scene.pose).T
        nearness = 1 / (scene.distance - turned[:, 2])
        return turned[:, :2] * (1, -1) * nearness[:, None], nearness

    def framing(self, marks: np.ndarray) -> np.ndarray:
        """The transform `(2, 3)` from projected places to pixels that aligns a face by its landmarks `(68, 2)`."""
        # `similarity_transform` wants points of the size of pixels.
        unit = 1 / np.ptp(marks, axis=0).max()
        to_crop = similarity_transform(five_points_of_68(marks * unit)) * (unit, unit, 1)
        scale = self.size / (CROP_SIZE * WINDOW)
        # From the middle of the crop.
        to_crop[:, 2] += 0.5 - CROP_SIZE / 2
        return to_crop * scale + (0, 0, self.size / 2 - 0.5)

    def render(self, scene: Scene, framing: np.ndarray | None = None) -> Picture:
        """Draw a scene.

        Args:
            scene: What to show.
            framing: From `framing`, of another scene of the clip; None aligns this face.
        """
        vertices = self.vertices(scene)
        marks, _ = self.project(vertices[self.kit.landmarks], scene)
        framing = self.framing(marks) if framing is None else framing
        points = marks @ framing[:, :2].T + framing[:, 2]

        vertices += self.out_of_head * self.paint.hair(scene.look.hairline)[:, None] * 0.8  # hair has a thickness
        normals = vertex_normals(vertices, self.kit.triangles) @ rotation(*scene.pose).T
        places, nearness = self.project(vertices, scene)
        fine_size = self.size * OVERSAMPLING
        places = (places @ framing[:, :2].T + framing[:, 2] + 0.5) * OVERSAMPLING - 0.5
        pixels, corners, shares = rasterise(places, nearness, self.kit.triangles, fine_size)

        diffuse, highlight = self.paint.light_up(normals, scene.light, scene.look.gloss)
        albedo = self.paint.albedo(scene.look) ** GAMMA
        on_vertices = np.concatenate([diffuse, highlight, albedo], axis=1).astype(np.float32)
        diffuse, highlight, albedo = np.split(blend(on_vertices, corners, shares), 3, axis=1)  # (shown, 3) each
        on_eye = (self.kit.parts[corners] == Part.EYE).all(axis=1)
        out = blend(self.paint.from_eye_middle, corners[on_eye], shares[on_eye])
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
        gaze = rotation(*scene.gaze, 0.0)[:, 2]
        albedo[on_eye] = self.paint.eye_colours(out, gaze, scene.look) ** GAMMA
        colours = albedo * diffuse + highlight
        colours *= scene.light.exposure / max(np.median(colours), 1e-6)

        picture = _enlarge(scene.background, fine_size).reshape(-1, 3)
        picture[pixels] = colours.clip(0, 1) ** (1 / GAMMA)
        blocks = picture.reshape(self.size, OVERSAMPLING, self.size, OVERSAMPLING, 3)
        rgb = (blocks.mean(axis=(1, 3)) * 255).round().astype(np.uint8)
        return Picture(rgb, points)


def _enlarge(colours: np.ndarray, size: int) -> np.ndarray:
    small = torch.from_numpy(colours).permute(2, 0, 1)[None]
    large = torch.nn.functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=True)
    return large[0].permute(1, 2, 0).contiguous().numpy()


def draw_expression(generator: np.random.Generator) -> tuple[Emotion, float, dict[str, float]]:
    """Draw an emotion, its intensity and shapes for a picture to train landmarks on: other muscles move as well."""
    emotion, intensity = SEVEN_EMOTIONS[generator.integers(len(SEVEN_EMOTIONS))], generator.uniform()
    shapes = free_shapes(generator, chance=0.12, strength=0.7)
    if generator.random() < 0.15:
        shapes["eyeBlink"] = generator.uniform(0.3, 1)
    for name, weight in expression_shapes(emotion, intensity, generator).items():
        shapes[name] = max(weight, shapes.get(name, 0.0))
    return emotion, intensity, shapes


def render_shard(face_kit: Path, output: Path, shard: int) -> None:
    """Render the pictures of a shard, whose number is their seed, into `output/<shard>.npz`."""
    torch.set_num_threads(1)
    kit = load_face_kit(face_kit)
    renderer = FaceRenderer(kit)
    generator = np.random.default_rng(shard)
    pictures, labels = [], []
    for _ in range(SHARD):
        emotion, intensity, shapes = draw_expression(generator)
        pictures.append(renderer.render(draw_scene(kit, generator, shapes)))
        labels.append((SEVEN_EMOTIONS.index(emotion), intensity))
    unfinished = output / f"{shard:04d}.part.npz"
    np.savez(
        unfinished,
        images=np.stack([picture.rgb for picture in pictures]),
        points=np.stack([picture.points for picture in pictures]).astype(np.float32),
        emotions=np.array([label for label, _ in labels]),
        intensities=np.array([intensity for _, intensity in labels], dtype=np.float32),
    )
    # A shard that is there is whole.
    unfinished.replace(output / f"{shard:04d}.npz")


def load_renders(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the pictures `(count, size, size, 3)` and landmarks `(count, 68, 2)` of all shards in a folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    shards = [path for path in sorted(folder.glob("*.npz")) if path.stem.isdigit()]
    if not shards:
        raise FileNotFoundError(f"Expected renders in {folder}; draw them with python -m training.synthetic.faces.")
    images, points = [], []
    for path in shards:
        with np.load(path, allow_pickle=False) as archive:
            images.append(archive["images"])
            points.append(archive["points"])
    return np.concatenate(images), np.concatenate(points)


def main() -> None:
    """Read the command line and render the shards that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--face-kit", type=Path, required=True, help="ict_facekit.npz")
    parser.add_argument("--output", type=Path, required=True, help="folder of the shards; give it again to go on")
    parser.add_argument("--count", type=int, default=8000, help=f"pictures, rounded up to whole shards of {SHARD}")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    shards = range(-(-arguments.count // SHARD))
    missing = [shard for shard in shards if not (arguments.output / f"{shard:04d}.npz").is_file()]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = [pool.submit(render_shard, arguments.face_kit, arguments.output, shard) for shard in missing]
        for job in tqdm(jobs, desc="shards"):
            job.result()


if __name__ == "__main__":
    main()
