"""What a training step costs, and whether the loader keeps up: `python -m tests.benchmarks.training_step [systems]`.

The loader is the one training uses: random frames of random clips from a cache, random crop, flip and colours, on the
processes of `--workers`. It is timed alone, and then in front of the forward and backward pass and the step of each
system, in bfloat16, on the GPU where there is one. The clips are noise: what they show does not change the work.

    python -m tests.benchmarks.training_step --preset paper --steps 300 --workers 0 2 8     on a GPU
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import dfer_hf
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.cache.prepared import Preparation, PreparedClips, write_prepared
from training.config import Augmentation, Normalisation, Sampling
from training.data.batches import EpochBatches, load_in_workers
from training.data.clip_dataset import ClipSource, Sample
from training.data.sources import build_processor

NUM_CLIPS, NUM_FRAMES = 48, 80
AUGMENTATION = Augmentation(brightness=0.4, contrast=0.4, saturation=0.4)


def make_source(root: Path) -> ClipSource:
    """Clips of noise in a cache, 16 frames of each looked at as 8 pairs."""
    generator = np.random.default_rng(0)
    clips = {
        f"{number:03d}": generator.integers(256, size=(NUM_FRAMES, 112, 112, 3), dtype=np.uint8)
        for number in range(NUM_CLIPS)
    }
    write_prepared(root, clips, Preparation("noise", "corpus", "corpus"))
    prepared, sampling = PreparedClips(root), Sampling()
    samples = [Sample(name, number % 7) for number, name in enumerate(clips)]
    return ClipSource(
        samples,
        SEVEN_EMOTIONS,
        prepared,
        build_processor(prepared.record, Normalisation(), sampling),
        sampling=sampling,
        augmentation=AUGMENTATION,
    )


def batches_of(source: ClipSource, *, batch_size: int, steps: int, image_size: int) -> EpochBatches:
    """Batches for a number of steps."""
    indices = torch.arange(batch_size * steps) % len(source)
    return EpochBatches(source, indices, batch_size=batch_size, image_size=image_size, seed=0)


def clips_per_second(source: ClipSource, *, batch_size: int, steps: int, num_workers: int) -> float:
    """How fast the loader is alone; the first batch, for which the workers start, is not counted."""
    batches = batches_of(source, batch_size=batch_size, steps=steps + 1, image_size=112)
    loader = iter(load_in_workers(batches, num_workers))
    next(loader)
    started = time.perf_counter()
    count = sum(len(batch["labels"]) for batch in loader)
    return count / (time.perf_counter() - started)


def time_training(
    name: str, preset: str, source: ClipSource, *, batch_size: int, steps: int, num_workers: int
) -> dict[str, float]:
    """Train a system for some steps: clips a second, share of the time it waits for the loader, memory of the GPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model_class = dfer_hf.systems()[name]
    torch.manual_seed(0)
    model = model_class(model_class.config_class.from_preset(preset)).to(device).train()
    optimiser = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=1e-5)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    size = model.config.image_size
    batches = batches_of(source, batch_size=batch_size, steps=steps + 1, image_size=size)
    waited, started, since, count = 0.0, 0.0, 0.0, 0
    for number, batch in enumerate(load_in_workers(batches, num_workers)):
        # The first step, which warms up, is not counted.
        if number == 1:
            started = since = time.perf_counter()
        waited += time.perf_counter() - since if number > 1 else 0.0
        batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"Expected a finite loss of {name}, got {loss.item()} in step {number}.")
        count += len(batch["labels"]) if number else 0
        since = time.perf_counter()
    seconds = time.perf_counter() - started
    measured = {"clips_per_second": count / seconds, "loader_share": waited / seconds}
    if device.type == "cuda":
        measured["gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=list(dfer_hf.systems()), help="all where none is named")
    parser.add_argument("--preset", default="small", help="size of the systems")
    parser.add_argument("--steps", type=int, default=5, help="steps of each measurement")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    sizes = {"batch_size": arguments.batch_size, "steps": arguments.steps}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    sys.stdout.write(f"{device}, {os.cpu_count()} cores, bfloat16, batches of {arguments.batch_size}\n")
    figures: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = make_source(Path(folder) / "cache")
        for count in arguments.workers:
            rate = clips_per_second(source, num_workers=count, **sizes)
            figures[f"loader, {count} workers"] = {"clips_per_second": rate}
            sys.stdout.write(f"loader alone, {count} workers: {rate:.1f} clips/s\n")
        for name in arguments.systems:
            measured = time_training(name, arguments.preset, source, num_workers=max(arguments.workers), **sizes)
            figures[f"{name}:{arguments.preset}"] = measured
            memory = f", {measured['gpu_memory_gib']:.1f} GiB of GPU memory" if "gpu_memory_gib" in measured else ""
            sys.stdout.write(
                f"{name}:{arguments.preset}: {measured['clips_per_second']:.1f} clips/s, waits for the loader "
                f"{measured['loader_share']:.0%} of the time{memory}\n"
            )
            sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
