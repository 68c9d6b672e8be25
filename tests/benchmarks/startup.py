"""What a run costs before its first step, beside what importing its code costs: `python -m tests.benchmarks.startup`.

The data is a list of the size of FERV39k (31,088 clips to train on and 7,847 to test on) with its folders and the
index of its cache; the shards are holes of the right length, as no crop is read. Everything is measured as CPU time,
in one run: the ratio says more than the seconds, which depend on the machine and on what else it does.
"""

import argparse
import csv
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"train": 31_088, "test": 7_847}
SCENES = ("Action", "Crime", "DailyLife", "War")
CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
NUM_FRAMES = 28


def make_release(root: Path, cache: Path, sizes: dict[str, int]) -> None:
    """Write lists, empty folders of frames, and a cache without a crop."""
    from training.cache.prepared import Preparation
    from training.cache.shards import INDEX_NAME, IndexRow, frame_bytes

    names = []
    for part, count in sizes.items():
        clips = [
            f"{SCENES[number % len(SCENES)]}/{CLASSES[number % len(CLASSES)]}/{part}{number:05d}"
            for number in range(count)
        ]
        path = root / f"4_setups/All_scenes/{part}_All.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{clip} {clip.split('/')[1]}\n" for clip in clips), encoding="utf-8")
        names += clips
    for name in names:
        (root / "2_ClipsforFaceCrop" / name).mkdir(parents=True)
    record = Preparation("ferv39k", "corpus", "corpus")
    record.settle(cache)
    size = NUM_FRAMES * frame_bytes(record.crop_size)
    with (cache / INDEX_NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(IndexRow)], lineterminator="\n")
        writer.writeheader()
        for number, name in enumerate(names):
            row = IndexRow(name, "shard-00000.tar", 1024 + number * (size + 2048), NUM_FRAMES, NUM_FRAMES)
            writer.writerow(dataclasses.asdict(row))
    with (cache / "shard-00000.tar").open("wb") as shard:
        shard.truncate(1024 + len(names) * (size + 2048))


def cpu_seconds(call: Callable[[], Any]) -> float:
    """CPU time of a call in this process."""
    started = time.process_time()
    call()
    return time.process_time() - started


def cpu_seconds_of(*words: str) -> float:
    """CPU time of a Python process."""
    code = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(sizes: dict[str, int]) -> dict[str, float]:
    """CPU seconds of `--help`, of importing training, and of reading the data of a run."""
    figures = {
        "python -m training.train --help": cpu_seconds_of("-m", "training.train", "--help"),
        "import training.train": cpu_seconds_of("-c", "import training.train"),
    }
    from training.config import TrainConfig
    from training.data.sources import build_data

    config = TrainConfig("frame_resnet", "ferv39k", ((112, 1, 1.0),), 32, 0.01)
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "ferv39k", Path(folder) / "cache"
        make_release(root, cache, sizes)
        figures["data of a run"] = cpu_seconds(lambda: build_data(config, root, fold=None, prepared_root=cache))
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    figures = measure(SIZES)
    imports = figures["import training.train"]
    lines = [
        f"{what:<36}{seconds:>8.2f} s CPU, {seconds / imports:.2f} of importing" for what, seconds in figures.items()
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
