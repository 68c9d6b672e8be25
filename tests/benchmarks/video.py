"""Time and memory of a video's whole way, beside the plain way: `python tests/benchmarks/video.py [--long]`.

The clip is made here: one face moving slowly in 1280×720 at 30 frames a second. `dfer predict` runs in a process of
its own, start-up included. The plain way runs MTCNN on every full frame and the model on 16 faces of the whole clip.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

FRAMES_PER_SECOND = 30
PLAIN_WAY = """
import sys
import cv2, numpy as np, torch
from facenet_pytorch import MTCNN
import dfer_hf
from dfer_hf.faces.alignment import align
predictor = dfer_hf.VideoPredictor.from_pretrained("dfer-aen-small")
detector, capture, crops = MTCNN(keep_all=True), cv2.VideoCapture(sys.argv[1]), []
while True:
    read, bgr = capture.read()
    if not read:
        break
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    boxes, _, points = detector.detect(rgb, landmarks=True)
    if boxes is None:
        continue
    crops.append(align(rgb, points[0]))
chosen = np.stack([crops[int((i + 0.5) * len(crops) / 16)] for i in range(16)])
clip = predictor.processor([chosen], input_data_format="channels_last", return_tensors="pt")
with torch.inference_mode():
    predictor.model(**clip)
"""


def make_clip(path: Path, seconds: float) -> None:
    """Write a clip of the astronaut's portrait under a slowly moving camera."""
    from skimage import data

    portrait = cv2.resize(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR), (1280, 1280))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FRAMES_PER_SECOND, (1280, 720))
    for index in range(int(seconds * FRAMES_PER_SECOND)):
        turn = 2 * math.pi * index / (4 * FRAMES_PER_SECOND)
        shift = np.float32([[0.75, 0, 120 + 60 * math.cos(turn)], [0, 0.75, 20 + 40 * math.sin(turn)]])
        writer.write(cv2.warpAffine(portrait, shift, (1280, 720), borderMode=cv2.BORDER_REFLECT))
    writer.release()


def measure(*command: str | Path) -> dict[str, float]:
    """Run a command; its whole wall time, its CPU time, and its peak memory."""
    started = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(errors)
    seconds = time.perf_counter() - started
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return {
        "wall_seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


def main() -> None:
    """Make the clips, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--long", action="store_true", help="also a clip of ten minutes, for memory")
    parser.add_argument("--plain", action="store_true", help="also the plain way, once; it takes a while")
    arguments = parser.parse_args()
    dfer = Path(sys.executable).with_name("dfer")
    figures: dict[str, object] = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
    with tempfile.TemporaryDirectory() as folder:
        clip, answer = Path(folder) / "ten_seconds.mp4", Path(folder) / "answer.json"
        make_clip(clip, 10)
        runs = sorted(
            (measure(dfer, "predict", clip, "--json", answer) for _ in range(arguments.repeats)),
            key=lambda run: run["wall_seconds"],
        )
        figures["dfer predict, 10 s of 720p"] = runs[len(runs) // 2]
        if arguments.plain:
            figures["plain way, 10 s of 720p"] = measure(sys.executable, "-c", PLAIN_WAY, clip)
        if arguments.long:
            long_clip = Path(folder) / "ten_minutes.mp4"
            make_clip(long_clip, 599)
            figures["dfer predict, 10 min of 720p"] = measure(dfer, "predict", long_clip, "--json", answer)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
