"""Render the example clips of the seven expressions: a face at rest, the expression as it comes, and its peak.

The faces are drawn from the ICT FaceKit's model by `training.synthetic`; no person is in them. What each clip shows is
the textbook's expression, by the actions of `training.synthetic.expressions`; it is no measure of any model.

    python -m training.synthetic.render_examples ict_facekit.npz examples
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from dfer_hf.video import write_video
from training.synthetic.expressions import expression_shapes, on_both_sides
from training.synthetic.face_paint import Light
from training.synthetic.faces import LEVEL, FaceRenderer, draw_scene
from training.synthetic.ict_facekit import load_face_kit

SIDE = 256
FRAMES_PER_SECOND, NUM_FRAMES = 15.0, 36
# When the expression starts to come and is there, in seconds.
ONSET_SECONDS, PEAK_SECONDS = 0.4, 1.2
# At the peak.
ICON_FRAME, ICON_BOX, ICON_SIDE = 23, (58, 45, 198, 185), 96
# Of the picture that aligns the face.
ZOOM = 0.62
# A lamp above and before the face, and one that fills the shadows.
LIGHT = Light(
    ambient=np.full(3, 0.55),
    directions=np.array([(-0.35, 0.5, 0.79), (0.6, 0.2, 0.77)]),
    lamps=np.array([(0.75, 0.72, 0.68), (0.25, 0.26, 0.3)]),
    exposure=0.35,
)
BACKGROUND = np.array([[(0.62, 0.66, 0.7)] * 2, [(0.42, 0.46, 0.52)] * 2], dtype=np.float32)
# Of the people, of which each shows one expression.
SEEDS = {emotion: 31 + index for index, emotion in enumerate(SEVEN_EMOTIONS)}


def render(renderer: FaceRenderer, emotion: Emotion) -> list[np.ndarray]:
    """Render the frames of one expression."""
    kit, generator = renderer.kit, np.random.default_rng(SEEDS[emotion])
    drawn = draw_scene(kit, generator, {}, turned=0.0)
    scene = dataclasses.replace(
        drawn, gaze=(0.0, 0.0), distance=80.0, light=LIGHT, background=BACKGROUND, identity=0.8 * drawn.identity
    )
    framing = renderer.framing(renderer.project(renderer.vertices(scene)[kit.landmarks], scene)[0])
    framing = ZOOM * framing + (0, 0, (1 - ZOOM) * SIDE / 2)
    names, frames = list(kit.expressions), []
    for index in range(NUM_FRAMES):
        seconds = index / FRAMES_PER_SECOND
        share = float(np.clip((seconds - ONSET_SECONDS) / (PEAK_SECONDS - ONSET_SECONDS), 0, 1))
        weights = expression_shapes(emotion, (1 - np.cos(np.pi * share)) / 2)
        # A blink, as nobody stares for two seconds.
        weights["eyeBlink"] = float(np.exp(-(((seconds - 2.1) / 0.06) ** 2)))
        sway = 0.05 * np.array([np.sin(1.9 * seconds), np.sin(1.3 * seconds + 1), np.sin(1.1 * seconds + 2)])
        moment = dataclasses.replace(
            scene,
            shapes=scene.shapes | on_both_sides(weights, names, {}),
            pose=tuple(float(angle) for angle in LEVEL + sway),
        )
        frames.append(renderer.render(moment, framing).rgb)
    return frames


def main() -> None:
    """Write a clip for each expression into the folder that is given."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("face_kit", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="+", type=Emotion, default=SEVEN_EMOTIONS)
    options = parser.parse_args()
    renderer = FaceRenderer(load_face_kit(options.face_kit), SIDE)
    for emotion in options.only:
        path = options.output / f"rendered_{emotion}.webm"
        frames = render(renderer, emotion)
        write_video(path, frames, frames_per_second=FRAMES_PER_SECOND)
        icon = Image.fromarray(frames[ICON_FRAME]).crop(ICON_BOX).resize((ICON_SIDE, ICON_SIDE))
        icon.save(path.with_suffix(".jpg"), quality=85)


if __name__ == "__main__":
    main()
