"""What an hour of video costs in `dfer batch`: `python -m tests.benchmarks.batch [--graphs FOLDER]`.

The clips are made here: one face moving slowly in 1280×720 at 30 frames a second. Time is that of the whole command
and of its workers, start-up included; CPU seconds hold on a machine that has other work to do, wall seconds do not.
"""

import argparse
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.video import FRAMES_PER_SECOND, make_clip, measure

DFER = (sys.executable, "-c", "import dfer_start; dfer_start.run()")


def main() -> None:
    """Make the clips, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4, help="how many; as many as cores or more")
    parser.add_argument("--seconds", type=float, default=75, help="length of each")
    parser.add_argument("--model", default="dfer-aen-small", help="which checkpoint")
    parser.add_argument("--graphs", type=Path, help="what `dfer export --onnx` wrote of it, to measure that too")
    arguments = parser.parse_args()
    figures: dict[str, object] = {
        "versions": {name: version(name) for name in ("torch", "transformers", "opencv-python-headless", "av")},
        "load before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as folder:
        clips = [Path(folder) / f"{index}.mp4" for index in range(arguments.clips)]
        for index, clip in enumerate(clips):
            # Of other lengths, as copies are not analysed twice.
            make_clip(clip, arguments.seconds + index / FRAMES_PER_SECOND)
        hours = arguments.clips * arguments.seconds / 3600
        sources = {"torch": [arguments.model, "--device", "cpu"]}
        if arguments.graphs:
            sources["onnx"] = [arguments.graphs, "--engine", "onnx"]
        ways = {
            f"{engine}, {workers} worker{'s' * (workers > 1)}": (
                *(*DFER, "batch", folder, "--quiet", "--workers", str(workers)),
                *("--output", Path(folder) / f"rows-{engine}-{workers}", "--model", *source),
            )
            for engine, source in sources.items()
            for workers in (1, 2)
        }
        for way, command in ways.items():
            spent = measure(*command)
            spent["cpu_hours_per_hour_of_video"] = round(spent["cpu_seconds"] / 3600 / hours, 3)
            figures[way] = spent
            sys.stdout.write(json.dumps({way: spent}) + "\n")
            sys.stdout.flush()
    figures["load after"] = os.getloadavg()[0]
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
