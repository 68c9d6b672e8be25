"""What an answer costs: size of the weights, memory of a process, and CPU time beside the frame recogniser's."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfer_hf.checkpoints import WEIGHTS, find_checkpoint, shipped_folder
from training.release.systems import RECOGNISER, System

ROUNDS = 5
EXAMPLE = "astronaut.webm"
_RUN = """
import json, pathlib, resource, sys, time
from dfer_hf import VideoPredictor
predictor = VideoPredictor.from_pretrained(sys.argv[1], device="cpu")
def analyse(**options):
    begun = time.process_time()
    prediction = predictor(sys.argv[2], **options)
    return time.process_time() - begun, prediction.duration_seconds
def peak():
    # What getrusage says holds for the process that started this one too.
    status = pathlib.Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
_, of_video = analyse()
of_plain = peak()
rounds = [(analyse()[0], analyse(explain=True)[0]) for _ in range(3)]
plain, explained = (min(seconds) for seconds in zip(*rounds))
print(json.dumps({"plain": plain, "explained": explained, "of_video": of_video, "peak": of_plain}))
"""


def measure_cost(systems: Sequence[System]) -> dict[str, Any]:
    """Measure every system; CPU times are the least of `ROUNDS`, taken in turns, as shares of the recogniser's.

    The plain way is the frame recogniser on the same frames. The whole way is reading, finding faces and answering the
    example clip in a process of its own, whose memory is its peak of resident memory. That process explains the clip
    as well.
    """
    clip = np.random.default_rng(0).integers(0, 256, (1, 16, 112, 112, 3), dtype=np.uint8)
    clip_seconds = {system.name: [_cpu_seconds(system, clip) for _ in range(ROUNDS)] for system in systems}
    whole = {system.name: run_alone(system) for system in systems}
    plain, plain_whole = min(clip_seconds[RECOGNISER]), whole[RECOGNISER]["plain"]
    return {
        system.name: {
            "parameters": sum(parameter.numel() for parameter in system.model.parameters()),
            "megabytes": round((_folder(system) / WEIGHTS).stat().st_size / 1e6, 2),
            "clip_over_plain": round(min(clip_seconds[system.name]) / plain, 2),
            "whole_way_over_plain": round(whole[system.name]["plain"] / plain_whole, 2),
            "cpu_seconds_of_video_second": round(whole[system.name]["plain"] / whole[system.name]["of_video"], 2),
            "explained_over_plain": round(whole[system.name]["explained"] / whole[system.name]["plain"], 2),
            "peak_megabytes": round(whole[system.name]["peak"] / 1024),
        }
        for system in systems
    }


def run_alone(system: System) -> dict[str, float]:
    """Answer the example clip in a process of its own.

    Returns:
        The least CPU seconds of answering and of explaining, seconds of video, and the peak of memory in KiB.
    """
    video = shipped_folder("examples") / EXAMPLE
    command = [sys.executable, "-c", _RUN, str(_folder(system)), str(video)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _folder(system: System) -> Path:
    return Path(find_checkpoint(str(system.model.name_or_path)))


def _cpu_seconds(system: System, clip: np.ndarray) -> float:
    begun = time.process_time()
    system.answer_clips(clip)
    return time.process_time() - begun
