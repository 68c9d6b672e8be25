"""What a clip with placed noise is, and where its noise is placed.

A clip of an expression is interrupted by a neutral face, a covered face or a face of another expression. Interruptions
last four frames, a quarter of a clip, and may begin at any frame: they are as long as an instance of M3DFEL, which has
one weight for its four frames, but not aligned with its instances, as nothing in a film is. They may reach over the
clip's end: each frame is off target equally often, and a system gains nothing by a habit of preferring some places.

A clip of a neutral face is only interrupted by covers: one that shows an expression for a part is labelled with it.
The other expression takes a quarter of a clip at most, so it never outweighs the clip's own.
"""

from dataclasses import dataclass

import numpy as np

from dfer_hf.taxonomy import Emotion
from training.synthetic.render_clips import FrameKind

NUM_FRAMES, RUN_LENGTH = 16, 4


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
