"""Clips of rendered faces whose expression comes and goes, with frames that do not show it placed on purpose.

What each frame shows is known exactly: the clip's emotion and its intensity, and which frames are off target: neutral,
covered, or of another expression.
"""

import dataclasses
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.synthetic.expressions import expression_shapes, free_shapes, on_both_sides
from training.synthetic.faces import FaceRenderer, Scene, draw_scene

SPEECH = {"chance": 0.1, "strength": 0.2}
WANDER = 0.12
"""How far the head turns within a clip, standard deviation in radians."""


class FrameKind(IntEnum):
    """What a frame shows."""

    TARGET = 0
    NEUTRAL = 1
    COVERED = 2
    OTHER = 3


@dataclass(frozen=True)
class RenderedClip:
    """A clip with its truth.

    Args:
        frames: uint8 of shape `(num_frames, size, size, 3)`, from a camera that stands still.
        points: The 68 landmarks in pixels, `(num_frames, 68, 2)`; where they would be seen if covered.
        emotion: The clip's label.
        kinds: `FrameKind` of each frame, `(num_frames,)`.
        shown: The emotion each frame's face shows, one for each frame; of a covered one, what is behind the cover.
        intensities: How strongly, 0 to 1, `(num_frames,)`.
    """

    frames: np.ndarray
    points: np.ndarray
    emotion: Emotion
    kinds: np.ndarray
    shown: tuple[Emotion, ...]
    intensities: np.ndarray


def rise_and_fall(num_frames: int, generator: np.random.Generator, *, least: float = 0.15) -> np.ndarray:
    """Draw an intensity that rises from `least` to a peak and falls to `least` again, `(num_frames,)`."""
    peak, height = generator.uniform(0.25, 0.75) * (num_frames - 1), generator.uniform(0.7, 1.0)
    frames = np.arange(num_frames)
    before, after = frames / max(peak, 1e-9), (num_frames - 1 - frames) / max(num_frames - 1 - peak, 1e-9)
    share = np.minimum(before, after).clip(0, 1)
    return least + (height - least) * (1 - np.cos(np.pi * share)) / 2


def place_kinds(num_frames: int, num_off_target: int, generator: np.random.Generator) -> np.ndarray:
    """Place off-target frames of random kinds at random, `(num_frames,)` of `FrameKind`.

    Raises:
        ValueError: If there are more of them than frames.
    """
    if not 0 <= num_off_target <= num_frames:
        raise ValueError(f"Expected 0 to {num_frames} off-target frames, got {num_off_target}.")
    kinds = np.full(num_frames, FrameKind.TARGET)
    places = generator.choice(num_frames, num_off_target, replace=False)
    kinds[places] = generator.choice([FrameKind.NEUTRAL, FrameKind.COVERED, FrameKind.OTHER], num_off_target)
    return kinds


def cover_face(rgb: np.ndarray, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Put an even, grainy patch over a face, brows to mouth; a picture of the same shape."""
    height, width = rgb.shape[:2]
    left, top = points[17:].min(axis=0)
    right, bottom = points[17:].max(axis=0)
    margin = generator.uniform(0.05, 0.3, 4) * (right - left)
    y, x = np.mgrid[:height, :width]
    inside = (x > left - margin[0]) & (x < right + margin[1]) & (y > top - margin[2]) & (y < bottom + margin[3])
    patch = generator.uniform(0, 255, 3) + generator.normal(0, generator.uniform(0, 20), (height, width, 1))
    return np.where(inside[..., None], patch.clip(0, 255).astype(np.uint8), rgb)


def render_clip(
    renderer: FaceRenderer,
    emotion: Emotion,
    generator: np.random.Generator,
    *,
    num_frames: int = 16,
    num_off_target: int = 0,
) -> RenderedClip:
    """Render a clip of one person.

    Args:
        renderer: Of the face model.
        emotion: What the clip shows; a neutral clip has an intensity of 0 and no neutral frames off target.
        generator: Source of randomness.
        num_frames: Frames of the clip.
        num_off_target: How many of them do not show the emotion.

    Raises:
        ValueError: If there are more off-target frames than frames.
    """
    kit = renderer.kit
    scene = draw_scene(kit, generator, {}, turned=0.6)
    framing = renderer.framing(renderer.project(renderer.vertices(scene)[kit.landmarks], scene)[0])
    kinds = place_kinds(num_frames, num_off_target, generator)
    if emotion is Emotion.NEUTRAL:
        kinds[kinds == FrameKind.NEUTRAL] = FrameKind.COVERED
    others = [other for other in SEVEN_EMOTIONS if other not in (emotion, Emotion.NEUTRAL)]
    intensities = rise_and_fall(num_frames, generator)
    turns = np.linspace(0, 3, num_frames)[:, None]
    keys = generator.normal(0, WANDER, (4, 3))
    wander = np.stack([np.interp(turns[:, 0], range(4), keys[:, axis]) for axis in range(3)], axis=1)

    prototype = expression_shapes(emotion, 1.0, generator)  # the same person's way of showing it in all frames
    names, asymmetry = list(kit.expressions), {name: generator.normal(0, 0.15) for name in prototype}
    frames, points, shown = [], [], []
    for frame, kind in enumerate(kinds):
        face, weights = emotion, {name: weight * intensities[frame] for name, weight in prototype.items()}
        if kind == FrameKind.NEUTRAL:
            face, weights = Emotion.NEUTRAL, {}
        elif kind == FrameKind.OTHER:
            face = others[generator.integers(len(others))]
            intensities[frame] = generator.uniform(0.6, 1)
            weights = expression_shapes(face, float(intensities[frame]), generator)
        if face is Emotion.NEUTRAL:
            intensities[frame] = 0
        speech = free_shapes(generator, **SPEECH)
        weights = {name: max(weights.get(name, 0), speech.get(name, 0)) for name in weights | speech}
        moment: Scene = dataclasses.replace(
            scene,
            shapes=scene.shapes | on_both_sides(weights, names, asymmetry),
            pose=tuple(float(angle) for angle in np.add(scene.pose, wander[frame])),
        )
        picture = renderer.render(moment, framing)
        covered = kind == FrameKind.COVERED
        frames.append(cover_face(picture.rgb, picture.points, generator) if covered else picture.rgb)
        points.append(picture.points)
        shown.append(face)
    return RenderedClip(np.stack(frames), np.stack(points), emotion, kinds, tuple(shown), intensities)
