"""What a clip of a moving still costs: `python -m tests.benchmarks.moving_stills`.

Clips of 16 frames are made of drawings in one thread, grey ones of 48×48 pixels as in FER+ and coloured wide crops,
with and without noise. Beside the CPU time of a clip stands that of sampling all its pixels once, which any clip
costs at least: the ratio says more than the time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.training.data.test_moving_stills import drawn_face
from training.data import transforms
from training.data.movable_faces import MovableFaces
from training.data.moving_stills import MovingStills
from training.datasets.face_bank import MARGIN, WIDE_SIZE

NUM_STILLS, NUM_FRAMES = 70, 16
KINDS = {"grey 48": (48, 1), "colour 176": (WIDE_SIZE, 3)}


def drawings(side: int, channels: int) -> MovableFaces:
    """Soft noise with landmarks of a face."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (NUM_STILLS, side, side, channels), dtype=np.uint8)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 2).reshape(image.shape) for image in noise])
    scale, shift = (1.0, MARGIN) if side == WIDE_SIZE else (side / 112, 0)
    matrices = np.tile(np.array([[scale, 0, shift], [0, scale, shift]], np.float32), (NUM_STILLS, 1, 1))
    landmarks = (drawn_face() + generator.normal(0, 1, (NUM_STILLS, 68, 2))) * scale + shift
    votes = np.eye(7, dtype=np.float32)[np.arange(NUM_STILLS) % 7]
    return MovableFaces.build(images.transpose(0, 3, 1, 2), matrices, votes, landmarks)


def milliseconds(tasks: Sequence[Callable[[], object]]) -> float:
    """CPU time of all tasks together."""
    tasks[0]()
    started = time.process_time()
    for task in tasks:
        task()
    return (time.process_time() - started) * 1e3


def measure(size: int, num_clips: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a clip, of sampling its pixels once, and their ratio."""
    figures = {}
    for name, (side, channels) in KINDS.items():
        faces, indices = drawings(side, channels), torch.arange(num_clips) % NUM_STILLS
        frames = (faces.images[:NUM_FRAMES].float(), faces.crop_to_image[:NUM_FRAMES], size)
        least = milliseconds([partial(transforms.warp, *frames)] * num_clips)
        for said, share in (("without noise", 0.0), ("with noise", None)):
            make = MovingStills(faces, noise_share=share).training_batch
            cost = milliseconds([partial(make, indices, size, torch.Generator().manual_seed(0))]) / num_clips
            figures[f"{name}, {said}"] = {
                "clip": cost,
                "sampling": least / num_clips,
                "ratio": cost * num_clips / least,
            }
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=112, help="side of the frames in pixels")
    parser.add_argument("--clips", type=int, default=32, help="clips of each measurement")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    figures = measure(arguments.size, arguments.clips)
    for name, figure in figures.items():
        sys.stdout.write(
            f"{name:<28}{figure['clip']:>8.2f} ms a clip, {figure['ratio']:.1f} times its sampling "
            f"({figure['sampling']:.2f} ms)\n"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
