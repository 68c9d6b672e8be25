"""Clips a second that a loader reads from the cache, JPEG frames and videos: `python -m tests.benchmarks.loading`.

The clips are made here: one face moving slowly, 224×224, about 80 frames. Every sample is 16 frames of a random clip,
spread over it, uint8 of 112×112. The cache holds the crops; the other two ways decode their frames and resize them,
and the video is decoded from its start up to the last frame wanted. All files are in the page cache of the system
when they are read: what is measured is the work, not the disk.
"""

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dfer_hf.faces.alignment import CROP_SIZE
from dfer_hf.video import read_frames
from dfer_hf.video.sampling import Sampling
from training.cache.prepared import Preparation, PreparedClips, write_prepared

NUM_FRAMES, SIDE, CHOSEN = 80, 224, 16

Reader = Callable[[int, np.ndarray], np.ndarray]


def make_pictures(seed: int) -> list[np.ndarray]:
    """Frames of one clip: the astronaut's face under a slowly moving camera."""
    from skimage import data

    portrait = data.astronaut()[:256, 80:336]
    pictures = []
    for index in range(NUM_FRAMES):
        turn = 2 * math.pi * (index / NUM_FRAMES + seed / 7)
        shift = np.array([[1, 0, 10 * math.cos(turn) - 16], [0, 1, 10 * math.sin(turn) - 16]])
        pictures.append(cv2.warpAffine(portrait, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
    return pictures


def make_clips(root: Path, num_clips: int) -> None:
    """Write every clip as frames in a folder, as a video, and into the cache."""
    crops = {}
    for number in range(num_clips):
        pictures = make_pictures(number)
        folder = root / f"{number:05d}"
        folder.mkdir()
        for index, rgb in enumerate(pictures):
            cv2.imwrite(str(folder / f"{index:05d}.jpg"), rgb[..., ::-1])
        video = root / f"{number:05d}.mp4"
        writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (SIDE, SIDE))
        for rgb in pictures:
            writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        writer.release()
        crops[str(number)] = np.stack([_shrink(rgb) for rgb in pictures])
    write_prepared(root / "cache", crops, Preparation("benchmark", "corpus", "corpus"))


def _shrink(rgb: np.ndarray) -> np.ndarray:
    return cv2.resize(rgb, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)


class FromCache:
    """Frames mapped from the shards."""

    def __init__(self, root: Path) -> None:
        self.clips = PreparedClips(root / "cache")

    def __call__(self, number: int, indices: np.ndarray) -> np.ndarray:
        return self.clips.read(str(number), indices)


class FromFrames:
    """Frames decoded one by one from a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, number: int, indices: np.ndarray) -> np.ndarray:
        paths = [self.root / f"{number:05d}" / f"{index:05d}.jpg" for index in indices]
        pictures = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
        return np.stack([_shrink(rgb) for rgb in pictures])


class FromVideo(FromFrames):
    """Frames decoded from a video up to the last one wanted."""

    def __call__(self, number: int, indices: np.ndarray) -> np.ndarray:
        wanted, found = set(indices.tolist()), {}
        for frame in read_frames(self.root / f"{number:05d}.mp4"):
            if frame.index in wanted:
                found[frame.index] = _shrink(frame.rgb)
            if len(found) == len(wanted):
                break
        return np.stack([found[index] for index in indices.tolist()])


class Samples(Dataset):
    """16 frames of a random clip, one of each equal part, the same in every run."""

    def __init__(self, read: Reader, num_clips: int) -> None:
        self.read, self.num_clips = read, num_clips
        self.choices = Sampling(CHOSEN, 1).views(NUM_FRAMES, every=1)

    def __len__(self) -> int:
        # Nobody comes to the end.
        return 10_000_000

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = np.random.default_rng(index)
        indices = self.choices[generator.integers(len(self.choices))]
        return torch.from_numpy(self.read(int(generator.integers(self.num_clips)), indices))


def _in_one_thread(_worker: int) -> None:
    cv2.setNumThreads(1)


def samples_per_second(samples: Samples, *, num_workers: int, batch_size: int, seconds: float) -> float:
    """Read until the time is up; the first batches, for which the workers start, are not counted."""
    loader = iter(DataLoader(samples, batch_size=batch_size, num_workers=num_workers, worker_init_fn=_in_one_thread))
    # As many as are read ahead.
    for _ in range(2 * num_workers + 1):
        next(loader)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        count += len(next(loader))
    return count / (time.perf_counter() - started)


def measure(
    root: Path, num_clips: int, workers: Sequence[int], *, batch_size: int, seconds: float
) -> dict[str, dict[int, float]]:
    """Clips a second of every way of reading, by number of workers."""
    ways: dict[str, Reader] = {"cache": FromCache(root), "JPEG frames": FromFrames(root), "video": FromVideo(root)}
    return {
        way: {
            count: samples_per_second(
                Samples(read, num_clips), num_workers=count, batch_size=batch_size, seconds=seconds
            )
            for count in workers
        }
        for way, read in ways.items()
    }


def main() -> None:
    """Make the clips, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40, help="clips that are made")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_clips(Path(folder), arguments.clips)
        figures = measure(
            Path(folder),
            arguments.clips,
            arguments.workers,
            batch_size=arguments.batch_size,
            seconds=arguments.seconds,
        )
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    lines = [f"clips of {CHOSEN} frames a second, {machine}, batches of {arguments.batch_size}"]
    lines.append("workers".ljust(14) + "".join(f"{count:>10}" for count in arguments.workers))
    lines += [way.ljust(14) + "".join(f"{rate:>10.0f}" for rate in rates.values()) for way, rates in figures.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine} | figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
