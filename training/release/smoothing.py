"""Compare smoothing windows of CFC-SP: `python -m training.release.smoothing <checkpoint> --data-root <FER+>`.

Clips of the faces that confidence is calibrated on, with half of their frames noise of each kind in turn, are answered
with every window. A wide window brings more of the noise into every frame, a narrow one lets an answer jump.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

import torch

from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from training.evaluation.metrics import percent
from training.release.bench_clips import HALF
from training.release.bench_corruptions import uar
from training.release.bench_data import BenchClips, calibration_clips, ferplus_split
from training.release.systems import System

CLIPS_PER_CLASS = 30
WINDOWS = (0, 2, 4, 6, 8, 16)
"""Windows that are compared, in frames of a clip, which has 16."""


@torch.inference_mode()
def measure(system: System, clips: BenchClips, windows: tuple[int, ...] = WINDOWS) -> dict[int, dict[str, float]]:
    """UAR of the clips, and accuracy of the frames that show their clip's label, for each window, in per cent."""
    model = cast(CfcSpForVideoClassification, system.model)
    encoded = torch.stack([model.encode_frames(system.to_pixels(crops)[None])[0] for crops in clips.crops])
    labels, shown, before = clips.asked.labels, ~clips.off_target, model.config.smoothing_window
    measured = {}
    try:
        for window in windows:
            model.config.smoothing_window = window
            output: Any = model.answer_encoded(encoded)
            of_frames = model.decide(output.frame_logits).cpu().numpy()
            measured[window] = {
                "uar": percent(float(uar(model.decide(output.logits).cpu().numpy(), labels))),
                "frames": percent(float((of_frames == labels[:, None])[shown].mean())),
            }
    finally:
        model.config.smoothing_window = before
    return measured


def main() -> None:
    """Read the command line, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="shipped name or folder of a CFC-SP")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of FER+")
    arguments = parser.parse_args()
    system = System.load(arguments.checkpoint)
    if not isinstance(system.model, CfcSpForVideoClassification):
        parser.error(
            f"Expected a CFC-SP, got {arguments.checkpoint}, a {type(system.model).__name__}: it smooths nothing."
        )
    cells = calibration_clips(ferplus_split(arguments.data_root), CLIPS_PER_CLASS, shares=(HALF,))
    sys.stdout.write(json.dumps(measure(system, BenchClips.join(list(cells))), indent=2) + "\n")


if __name__ == "__main__":
    main()
