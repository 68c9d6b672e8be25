"""The clips with placed noise that systems are measured on.

They are rendered from a face model, one person to a clip and nobody twice, so the truth of every frame is known: a clip of an expression is interrupted by a neutral face, a covered face or a face of another expression. Interruptions
last four frames, a quarter of a clip, and may begin at any frame: they are as long as an instance of M3DFEL, which has
one weight for its four frames, but not aligned with its instances, as nothing in a film is.

Clips are loops, and interruptions may reach over their end: each frame is off target equally often, the expression is
strongest anywhere, and a system gains nothing by a habit of preferring some places to others.

A clip of a neutral face is only interrupted by covers: one that shows an expression for a part is labelled with it. The
other expression takes a quarter of a clip at most, so it never outweighs the clip's own.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.ict_facekit import load_face_kit
from training.renders.faces import FaceRenderer
from training.renders.render_clips import FrameKind, render_clip

NUM_FRAMES, RUN_LENGTH = 16, 4
PICTURE_SIZE = 80
"""Side of the pictures; a model sees a part of them, in training one that moves from clip to clip."""
SHARD = 20
FIRST_SEED = 1_000_000
"""Every clip is drawn from a seed of its own, and with it a person."""
OFF_TARGET_RUNS = (1, 2)
LUMA = np.array([0.299, 0.587, 0.114])
"""Of BT.601, which the processor's greyscale has, too; the shipped recogniser sees grey faces."""


@dataclass(frozen=True)
class NoiseClips:
    """Clips with their truth.

    Args:
        frames: Grey, uint8 of shape `(clips, num_frames, size, size)`; pictures are clips of one frame.
        labels: Index of the emotion in `SEVEN_EMOTIONS`, `(clips,)`.
        kinds: `FrameKind` of each frame, `(clips, num_frames)`.
        intensities: How strong the expression of each frame is, 0 to 1, `(clips, num_frames)`.
    """

    frames: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    intensities: np.ndarray


def place_runs(emotion: Emotion, num_runs: int, generator: np.random.Generator) -> np.ndarray:
    """Place interruptions of different kinds, each of `RUN_LENGTH` frames; `FrameKind` of each frame, `(NUM_FRAMES,)`.

    Raises:
        ValueError: If there are more interruptions than kinds of them.
    """
    choices = [FrameKind.NEUTRAL, FrameKind.COVERED, FrameKind.OTHER]
    if not 0 <= num_runs <= len(choices):
        raise ValueError(f"Expected 0 to {len(choices)} interruptions, got {num_runs}.")
    kinds_of_runs = np.full(NUM_FRAMES // RUN_LENGTH, FrameKind.TARGET)
    places = generator.choice(len(kinds_of_runs), num_runs, replace=False)
    kinds_of_runs[places] = generator.choice(choices, num_runs, replace=False)
    if emotion is Emotion.NEUTRAL:
        kinds_of_runs[places] = FrameKind.COVERED
    return np.roll(kinds_of_runs.repeat(RUN_LENGTH), generator.integers(RUN_LENGTH))


def _render_one(number: int, renderer: FaceRenderer) -> NoiseClips:
    generator = np.random.default_rng(FIRST_SEED + number)
    label = number % len(SEVEN_EMOTIONS)
    emotion = SEVEN_EMOTIONS[label]
    kinds = place_runs(emotion, int(generator.choice(OFF_TARGET_RUNS)), generator)
    clip = render_clip(renderer, emotion, generator, num_frames=NUM_FRAMES, kinds=kinds, looped=True)
    grey = (clip.frames @ LUMA).round().astype(np.uint8)
    return NoiseClips(grey, np.array(label), kinds, clip.intensities.astype(np.float32))


def _join(parts: list[NoiseClips]) -> NoiseClips:
    fields = ("frames", "labels", "kinds", "intensities")
    return NoiseClips(**{field: np.stack([getattr(part, field) for part in parts]) for field in fields})


def render_shard(shard: int, *, face_kit: Path, folder: Path, count: int) -> None:
    """Render clips into `folder/clips-<shard>.npz`; a shard that is there is whole."""
    torch.set_num_threads(1)
    renderer = FaceRenderer(load_face_kit(face_kit), PICTURE_SIZE)
    numbers = range(shard * SHARD, min(count, (shard + 1) * SHARD))
    clips = _join([_render_one(number, renderer) for number in numbers])
    path = folder / f"clips-{shard:03d}.npz"
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **vars(clips))
    unfinished.replace(path)


def make_clips(face_kit: Path, folder: Path, count: int, *, processes: int = 2) -> NoiseClips:
    """Read the clips from their cache, and render first what is not there yet.

    Args:
        face_kit: `ict_facekit.npz`.
        folder: The cache; one for each `count`.
        count: Clips; the emotions take turns.
        processes: That render at the same time.

    Raises:
        ValueError: If the cache was made with another count.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clips-{shard:03d}.npz" for shard in range(-(-count // SHARD))]
    missing = [shard for shard, path in enumerate(paths) if not path.is_file()]
    if missing:
        render = partial(render_shard, face_kit=face_kit, folder=folder, count=count)
        with ProcessPoolExecutor(processes) as pool:
            list(tqdm(pool.map(render, missing), total=len(missing), desc="clips", disable=None))
    shards = []
    for path in paths:
        with np.load(path, allow_pickle=False) as archive:
            shards.append(dict(archive))
    clips = NoiseClips(**{name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]})
    if len(clips.labels) != count:
        raise ValueError(
            f"Expected {count} clips in {folder}, found {len(clips.labels)}. Give the count they were made with, or "
            "another folder."
        )
    return clips
