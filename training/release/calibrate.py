"""Calibrate a checkpoint: `python -m training.release.calibrate <folder> --data-root <folder of the datasets>`.

Fits the temperature and the threshold of the prediction sets on every second face of FER+'s valid split: on clips
made from them, without noise and with a quarter of it, on the stills, and on the stills corrupted. Clips count half,
stills and corrupted stills a quarter each, so that sets are a little too large on good pictures and a little too small
on bad ones. The temperature is the one at which the mean confidence is the accuracy. The most likely one left
dfer-nr-dfernet-small far too unsure, as some answers to noise are sure and wrong: with ECE of 4.6 % on stills and
19.6 % on clips, where this gives 5.1 and 5.3 %. Both are written into the checkpoint's config.json;
`training.release.evaluate_all` measures the other faces.

Sets are those of Sadinle, Lei and Wasserman (2019). Calibrated in this way on half of 555 stills of FER+ valid and
their corrupted copies, and measured on the other half and the other way round, an earlier dfer-frame-resnet-small
gave 1.37 classes a set on stills and 1.47 on corrupted ones, and 94.8 and 84.7 % of the sets held the true class; APS
without randomisation 1.34 and 1.47 in 94.6 and 84.7 %, RAPS 1.36 and 1.49 in 94.4 and 85.4 %. As they are alike, the
one was taken that is a threshold on the probability. Calibrated on stills alone it gave 1.15 and 1.18 in 91.0 and
78.6 %.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from training.evaluation.calibration import match_confidence, store_temperature
from training.evaluation.conformal import COVERAGE, conformal_quantile, least_ambiguous
from training.evaluation.predict import softmax
from training.release.bench_corruptions import corrupt_in_turn
from training.release.bench_data import calibration_clips, ferplus_faces, ferplus_split
from training.release.scoring import Asked
from training.release.systems import System

STILLS_PER_CLASS, CLIPS_PER_CLASS = 120, 6


def collect(system: System, data_root: Path) -> tuple[np.ndarray, Asked]:
    """Logits of the calibration data, `(count, 7)`, with labels and weights."""
    split = ferplus_split(data_root / "ferplus")
    faces = ferplus_faces(split, STILLS_PER_CLASS)
    faces = faces.subset(np.flatnonzero(~faces.asked.held_out))
    logits = [system.answer_stills(crops).logits for crops in (faces.crops, corrupt_in_turn(faces.crops))]
    asked, weights = [faces.asked, faces.asked], [faces.asked.weights / faces.asked.weights.sum() / 4] * 2
    cells = [(system.answer_clips(clips.crops).logits, clips.asked)
             for clips in calibration_clips(split, CLIPS_PER_CLASS)]  # fmt: skip
    for of_clips, asked_of_clips in cells:
        logits.append(of_clips)
        asked.append(asked_of_clips)
        weights.append(asked_of_clips.weights / len(cells) / 2)
    whole = Asked.join(asked)
    return np.concatenate(logits), Asked(whole.labels, np.concatenate(weights), whole.held_out)


def fit(logits: np.ndarray, asked: Asked) -> tuple[float, float]:
    """Temperature, and the least probability with which a class is in a set."""
    temperature = match_confidence(logits, asked.labels, asked.weights)
    scores = least_ambiguous(softmax(logits / temperature))
    quantile = conformal_quantile(scores, asked.labels, weights=asked.weights)
    return temperature, round(max(0.0, 1 - quantile), 6)


def main() -> None:
    """Read the command line, calibrate, store and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="its folder, such as model_cards/dfer-aen-small")
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds ferplus/")
    arguments = parser.parse_args()
    logits, asked = collect(System.load(str(arguments.checkpoint)), arguments.data_root)
    temperature, threshold = fit(logits, asked)
    store_temperature(arguments.checkpoint, temperature, set_threshold=threshold)
    sys.stdout.write(
        f"{arguments.checkpoint.name}: temperature {temperature:.4f}, sets of {COVERAGE:.0%} coverage hold classes of "
        f"probability {threshold:.4f} and more; {len(asked)} stills and clips\n"
    )


if __name__ == "__main__":
    main()
