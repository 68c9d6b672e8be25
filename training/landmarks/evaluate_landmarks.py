"""Measure a landmark head on real people: `python -m training.landmarks.evaluate_landmarks <head> --london <folder>`.

Every portrait is processed as a user's file: detected, aligned, given to the head, and mapped back to the frame.
Errors are in per cent of the distance between the pupils. A pupil is estimated as the mean of the six landmarks of
its eye. Since a pupil is not exactly there, the same estimate from the points placed by hand is measured beside it: no
head can be expected to do better.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.faces.alignment import CROP_SIZE, align, invert, similarity_transform
from dfer_hf.faces.video_processing_dfer import DferVideoProcessor
from dfer_hf.models.modeling_landmark_head import LandmarkHead
from training.landmarks.london import PUPILS, SHARED_POINTS, Portrait, read_portraits
from training.landmarks.train_landmarks import load_head

EYES = (slice(36, 42), slice(42, 48))
EYES_BY_HAND = ((18, 20, 20, 22, 29, 29), (23, 25, 25, 27, 32, 32))
"""The same six places among the 189: corners once, the middles of the lids for two points each."""


@torch.inference_mode()
def find_landmarks(head: LandmarkHead, rgb: np.ndarray, five_points: np.ndarray, *, grey: bool) -> np.ndarray:
    """Find the landmarks of a face in pixels of its frame, `(68, 2)`, from the detector's five points."""
    processor = DferVideoProcessor(do_grayscale=grey)  # pyright: ignore[reportCallIssue]  its own field
    crop = align(rgb, five_points)
    frames = processor(crop[None], return_tensors="pt")["pixel_values_videos"][0]  # (1, 3, 112, 112)
    in_crop = head(frames)[0].numpy() * CROP_SIZE - 0.5
    back = invert(similarity_transform(five_points))
    return in_crop @ back[:, :2].T + back[:, 2]


def mean(errors: Iterable[float]) -> float:
    """Return the mean, rounded to a hundredth."""
    return round(float(np.mean(list(errors))), 2)


def detect_points(portraits: Iterable[Portrait]) -> list[np.ndarray | None]:
    """Detect five points of the largest face of every portrait, `(5, 2)` each; None where there is no face."""
    detector = MtcnnFaceDetector()
    found = (detector.detect([portrait.rgb])[0] for portrait in portraits)
    return [detections[0].points if detections else None for detections in found]


def measure(
    head: LandmarkHead, portraits: list[Portrait], five_points: list[np.ndarray | None], *, grey: bool
) -> dict:
    """Compute all figures over the portraits, in per cent of the distance between the pupils.

    Raises:
        ValueError: If no face was detected in any portrait.
    """
    pupils, by_hand, by_detector = [], [], []
    parts: dict[str, list[float]] = defaultdict(list)
    people: dict[str, list[float]] = defaultdict(list)
    missed = []
    for portrait, points in zip(portraits, five_points, strict=True):
        if points is None:
            missed.append(portrait.person)
            continue
        truth = portrait.points
        unit = 100 / float(np.linalg.norm(truth[PUPILS[0]] - truth[PUPILS[1]]))
        found = find_landmarks(head, portrait.rgb, points, grey=grey)
        for side, pupil in enumerate(PUPILS):
            error = unit * float(np.linalg.norm(found[EYES[side]].mean(axis=0) - truth[pupil]))
            pupils.append(error)
            people[portrait.ethnicity].append(error)
            middle = truth[list(EYES_BY_HAND[side])].mean(axis=0)
            by_hand.append(unit * float(np.linalg.norm(middle - truth[pupil])))
            by_detector.append(unit * float(np.linalg.norm(points[side] - truth[pupil])))
        for part, of_68, of_189 in SHARED_POINTS:
            gap = found[list(of_68)].mean(axis=0) - truth[list(of_189)].mean(axis=0)
            parts[part].append(unit * float(np.linalg.norm(gap)))
    if not pupils:
        raise ValueError("Expected portraits with a face, but the detector found none.")
    return {
        "people": len(pupils) // 2,
        "not_found": missed,
        "pupils": {"mean": mean(pupils), "worst": round(max(pupils), 2)},
        "pupils_from_points_placed_by_hand": mean(by_hand),
        "pupils_by_detector": mean(by_detector),
        "pupils_by_ethnicity": {name: mean(errors) for name, errors in sorted(people.items())},
        "shared_points": mean(error for errors in parts.values() for error in errors),
        "shared_points_by_part": {name: mean(errors) for name, errors in parts.items()},
    }


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("head", type=Path, help="landmark_head.safetensors")
    parser.add_argument("--london", type=Path, required=True, help="folder of the Face Research Lab London Set")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    head, portraits = load_head(arguments.head), list(read_portraits(arguments.london))
    five_points = detect_points(portraits)
    results = {
        name: measure(head, portraits, five_points, grey=grey) for name, grey in (("colour", False), ("grey", True))
    }
    text = json.dumps(results, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
