"""What changing clips at random costs, beside torchvision on floats: `python -m tests.benchmarks.transforms`.

Both change the same clips, 16 frames of 112×112, with the same random numbers, in one thread: as `ClipSource` does it,
up to the pixel values of the batch, and with torchvision's functions on floats, which show the same up to rounding.
The ratio of the CPU times is what counts.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.training.data.test_clip_transforms import by_torchvision
from training.config import Augmentation, load_config
from training.data.clip_transforms import augment_clip

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
WAYS = {"crop and flip": Augmentation(), "M3DFEL": load_config(RECIPES / "m3dfel_dfew.toml").augmentation}


def make_clip() -> np.ndarray:
    """Frames of soft noise."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in noise])


def ours(clip: np.ndarray, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Change a clip, and make pixel values of it."""
    pixels = torch.from_numpy(augment_clip(clip, 112, settings, generator)).permute(0, 3, 1, 2)
    return torch.empty(pixels.shape).copy_(pixels).mul_(1 / 255)


def milliseconds(change: Callable[[torch.Generator], object], num_clips: int) -> float:
    """CPU time of a clip."""
    generator = torch.Generator().manual_seed(0)
    change(generator)
    started = time.process_time()
    for _ in range(num_clips):
        change(generator)
    return (time.process_time() - started) / num_clips * 1e3


def measure(num_clips: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a clip in both ways, and how often ours goes into torchvision's, by augmentation."""
    clip, figures = make_clip(), {}
    for name, settings in WAYS.items():
        new = milliseconds(partial(ours, clip, settings), num_clips)
        old = milliseconds(partial(by_torchvision, clip, 112, settings), num_clips)
        figures[name] = {"ours": new, "torchvision": old, "ratio": old / new}
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100, help="clips of each measurement")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    figures = measure(arguments.clips)
    for name, figure in figures.items():
        sys.stdout.write(
            f"{name:<15}{figure['ours']:>8.2f} ms a clip, torchvision on floats {figure['torchvision']:.2f} ms: "
            f"{figure['ratio']:.1f} times as fast\n"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
