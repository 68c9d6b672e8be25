"""The engines side by side: `python -m tests.benchmarks.engines FOLDER`, which `dfer export --onnx` wrote.

For each engine the whole command on ten seconds of 720p, start-up included, with its peak memory; and the frames a
second that it analyses once it is warm, in a process of its own. Bare decoding of the clip, also in a process of its
own, is the least that any engine can take. All runs take turns, so that other work on the machine slows them alike:
read the ratios.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import dfer_hf
from tests.benchmarks.video import make_clip, measure

COMMAND = "import dfer_start; dfer_start.run()"
DECODING = """
import sys
from dfer_hf.video import read_frames
for frame in read_frames(sys.argv[1], max_side=1280):
    pass
"""
WARM = """
import sys, time
from dfer_hf.predictor import VideoPredictor
engine, model, clip = sys.argv[1:]
predictor = VideoPredictor.from_pretrained(model, engine=engine)
predictor(clip)
started = time.perf_counter()
face = predictor(clip).faces[0]
seconds = time.perf_counter() - started
print(sum(not frame.is_interpolated and frame.box is not None for frame in face.frames) / seconds)
"""
PACKAGES = ("torch", "transformers", "onnxruntime", "numpy", "opencv-python-headless", "av")


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    fields = dict(line.split("\t: ", 1) for line in (line.replace("\t\t", "\t") for line in lines) if "\t: " in line)
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": sum(line.startswith("processor") for line in lines),
        "has_avx512": "avx512f" in fields.get("flags", ""),
        "load": Path("/proc/loadavg").read_text(encoding="utf-8").split()[0] if lines else None,
        "python": platform.python_version(),
        "dfer_hf": dfer_hf.__version__,
        **{name: metadata.version(name) for name in PACKAGES},
    }


def main() -> None:
    """Make the clip, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="with ONNX graphs")
    parser.add_argument("--model", default="dfer-aen-small", help="the checkpoint they were written from")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the median is taken")
    arguments = parser.parse_args()
    models = {"torch": arguments.model, "onnx": arguments.folder}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("decoding", *models)}
    warm: dict[str, list[float]] = {name: [] for name in models}
    with tempfile.TemporaryDirectory() as folder:
        clip, answer = Path(folder) / "ten_seconds.mp4", Path(folder) / "answer.json"
        make_clip(clip, 10)
        for _ in range(arguments.repeats):
            found["decoding"].append(measure(sys.executable, "-c", DECODING, clip))
            for name, model in models.items():
                run = ("predict", clip, "--json", answer, "--quiet", "--engine", name, "--model", model)
                found[name].append(measure(sys.executable, "-c", COMMAND, *run))
                done = subprocess.run(
                    [sys.executable, "-c", WARM, name, model, str(clip)], capture_output=True, text=True, check=True
                )
                warm[name].append(float(done.stdout))
    figures: dict[str, Any] = {"machine": machine()}
    for name, runs in found.items():
        figures[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    for name, rates in warm.items():
        figures[name]["warm_analysed_frames_per_second"] = round(statistics.median(rates), 1)
    for key in ("wall_seconds", "cpu_seconds", "peak_mib"):
        figures[f"torch / onnx, {key}"] = round(figures["torch"][key] / figures["onnx"][key], 2)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
