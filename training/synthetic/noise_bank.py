"""Clips with placed noise, put together from rendered pictures of people, anew for every epoch.

Of each person there are pictures of every emotion in several strengths, so the truth of every frame is known. A clip
shows one emotion of one person, whose strength rises and falls, interrupted as `noise_clips` says; faces without or
with another expression are somebody else's, as after a cut, or where a tracker takes one person for another. Which
frames are interrupted, and by what, is drawn again each time, so that no clip can be learnt by heart.
"""

import dataclasses
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.synthetic.expressions import expression_shapes, free_shapes, on_both_sides
from training.synthetic.faces import FaceRenderer, draw_scene
from training.synthetic.ict_facekit import load_face_kit
from training.synthetic.noise_clips import NUM_FRAMES, NoiseClips, place_runs
from training.synthetic.render_clips import SPEECH, WANDER, FrameKind, rise_and_fall

PICTURE_SIZE = 80
"""Side of the pictures; a model sees a part of them, in training one that moves from clip to clip."""
STRENGTHS = (0.3, 0.6, 0.9)
FIRST_SEED = 3_000_000
LUMA = np.array([0.299, 0.587, 0.114])
"""Of BT.601, which the processor's greyscale has, too; the shipped recogniser sees grey faces."""
PEOPLE_OF_SHARD = 20
NEUTRAL = SEVEN_EMOTIONS.index(Emotion.NEUTRAL)


@dataclass(frozen=True)
class FaceBank:
    """Pictures of people.

    Args:
        pictures: Grey, uint8 of shape `(people, emotions, strengths, size, size)`.
    """

    pictures: np.ndarray

    def divide(self, num_people: int) -> tuple["FaceBank", "FaceBank"]:
        """Part the people: the last ones to measure with, the others to learn from."""
        return FaceBank(self.pictures[:-num_people]), FaceBank(self.pictures[-num_people:])

    def compose(self, num_clips: int, generator: np.random.Generator, *, least_runs: int = 0) -> NoiseClips:
        """Put clips together; the emotions take turns, the people are drawn.

        Args:
            num_clips: How many.
            generator: Source of randomness.
            least_runs: Interruptions that every clip has at least; at most it has two.
        """
        made = [self._clip(number % len(SEVEN_EMOTIONS), least_runs, generator) for number in range(num_clips)]
        fields = [field.name for field in dataclasses.fields(NoiseClips)]
        return NoiseClips(**{field: np.stack([clip[field] for clip in made]) for field in fields})

    def stills(self) -> NoiseClips:
        """Every picture alone, as a clip of one frame, labelled with what it shows."""
        people, emotions, strengths, size, _ = self.pictures.shape
        shape = (people, emotions, strengths)
        labels = np.broadcast_to(np.arange(emotions)[None, :, None], shape).reshape(-1)
        course = np.broadcast_to(np.array(STRENGTHS), shape).reshape(-1)
        return NoiseClips(
            self.pictures.reshape(-1, 1, size, size),
            labels,
            np.full((len(labels), 1), FrameKind.TARGET),
            np.where(labels == NEUTRAL, 0.0, course).astype(np.float32)[:, None],
        )

    def _clip(self, label: int, least_runs: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        kinds = place_runs(SEVEN_EMOTIONS[label], int(generator.integers(least_runs, 3)), generator)
        people = np.full(NUM_FRAMES, generator.integers(len(self.pictures)))
        for kind in (FrameKind.NEUTRAL, FrameKind.OTHER):
            people[kinds == kind] = generator.integers(len(self.pictures))
        others = [index for index in range(len(SEVEN_EMOTIONS)) if index not in (label, NEUTRAL)]
        shown = np.full(NUM_FRAMES, label)
        shown[kinds == FrameKind.NEUTRAL] = NEUTRAL
        shown[kinds == FrameKind.OTHER] = generator.choice(others)
        course = np.roll(rise_and_fall(NUM_FRAMES, generator), generator.integers(NUM_FRAMES))
        course[kinds == FrameKind.OTHER] = generator.choice(STRENGTHS)
        nearest = np.abs(course[:, None] - np.array(STRENGTHS)).argmin(axis=1)
        frames = self.pictures[people, shown, nearest]
        if (kinds == FrameKind.COVERED).any():
            frames[kinds == FrameKind.COVERED] = _cover(frames[kinds == FrameKind.COVERED], generator)
        intensities = np.where(shown == NEUTRAL, 0.0, course).astype(np.float32)
        return {"frames": frames, "labels": np.array(label), "kinds": kinds, "intensities": intensities}


def _cover(frames: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Put one even, grainy patch over the middle of the pictures, brows to mouth."""
    size = frames.shape[-1]
    top, left, bottom, right = (generator.uniform([0.2, 0.12, 0.0, 0.12], [0.38, 0.3, 0.15, 0.3]) * size).astype(int)
    covered = frames.copy()
    shape = (size - bottom - top, size - right - left)
    patch = generator.uniform(0, 255) + generator.normal(0, generator.uniform(0, 20), shape)
    covered[:, top : size - bottom, left : size - right] = patch.clip(0, 255).astype(np.uint8)
    return covered


def render_person(renderer: FaceRenderer, generator: np.random.Generator) -> np.ndarray:
    """Pictures of one person, `(emotions, strengths, size, size)`; the head moves a little between them."""
    kit = renderer.kit
    scene = draw_scene(kit, generator, {}, turned=0.6)
    framing = renderer.framing(renderer.project(renderer.vertices(scene)[kit.landmarks], scene)[0])
    names, rows = list(kit.expressions), []
    for emotion in SEVEN_EMOTIONS:
        prototype = {} if emotion is Emotion.NEUTRAL else expression_shapes(emotion, 1.0, generator)
        asymmetry = {name: generator.normal(0, 0.15) for name in prototype}
        row = []
        for strength in STRENGTHS:
            speech = free_shapes(generator, **SPEECH)
            weights = {name: weight * strength for name, weight in prototype.items()}
            weights = {name: max(weights.get(name, 0), speech.get(name, 0)) for name in weights | speech}
            moment = dataclasses.replace(
                scene,
                shapes=scene.shapes | on_both_sides(weights, names, asymmetry),
                pose=tuple(float(angle) for angle in np.add(scene.pose, generator.normal(0, WANDER, 3))),
            )
            row.append((renderer.render(moment, framing).rgb @ LUMA).round().astype(np.uint8))
        rows.append(row)
    return np.array(rows)


def render_shard(shard: int, *, face_kit: Path, folder: Path, num_people: int) -> None:
    """Render some people into `folder/people-<shard>.npy`; a shard that is there is whole."""
    torch.set_num_threads(1)
    renderer = FaceRenderer(load_face_kit(face_kit), PICTURE_SIZE)
    people = range(shard * PEOPLE_OF_SHARD, min(num_people, (shard + 1) * PEOPLE_OF_SHARD))
    pictures = [render_person(renderer, np.random.default_rng(FIRST_SEED + person)) for person in people]
    path = folder / f"people-{shard:03d}.npy"
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, np.stack(pictures))
    unfinished.replace(path)


def make_bank(face_kit: Path, folder: Path, num_people: int, *, processes: int = 2) -> FaceBank:
    """Read the bank from its cache, and render first what is not there yet.

    Raises:
        ValueError: If the cache was made with another number of people.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"people-{shard:03d}.npy" for shard in range(-(-num_people // PEOPLE_OF_SHARD))]
    missing = [shard for shard, path in enumerate(paths) if not path.is_file()]
    if missing:
        render = partial(render_shard, face_kit=face_kit, folder=folder, num_people=num_people)
        with ProcessPoolExecutor(processes) as pool:
            list(tqdm(pool.map(render, missing), total=len(missing), desc="people", disable=None))
    pictures = np.concatenate([np.load(path) for path in paths])
    if len(pictures) != num_people:
        raise ValueError(
            f"Expected {num_people} people in {folder}, found {len(pictures)}. Give the number it was made with, or "
            "another folder."
        )
    return FaceBank(pictures)
