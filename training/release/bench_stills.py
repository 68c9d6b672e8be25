"""Pictures of faces: FER+ aligned exactly, by a fixed frame and as found; muxspace; the London Set by groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluation.metrics import percent
from training.release.bench_data import (
    Faces,
    ferplus_faces,
    ferplus_pictures,
    ferplus_split,
    found_faces,
    london_pictures,
    muxspace_faces,
)
from training.release.bench_room import Room
from training.release.scoring import confidence, scorecard
from training.release.systems import NAMES, System

STILLS_PER_CLASS = 40
PHOTOGRAPHS_PER_CLASS = 60
COMMON = ("anger", "surprise", "neutral", "happiness", "sadness")


def measure_ferplus(systems: Sequence[System], room: Room) -> dict[str, Any]:
    """FER+'s valid split aligned by exact points, all by one frame, and found in the pictures.

    Up to `STILLS_PER_CLASS` faces of each class; systems that encode each frame by itself see the whole split aligned
    exactly.
    """
    split = ferplus_split(room.folder("ferplus"))
    sample, fixed = ferplus_faces(split, STILLS_PER_CLASS), ferplus_faces(split, STILLS_PER_CLASS, is_fixed=True)
    found = ferplus_pictures(split, STILLS_PER_CLASS, systems[0].predictor.detector)
    whole = ferplus_faces(split, None) if any(system.model.sees_frames_apart for system in systems) else sample
    ways = {"aligned": sample, "fixed frame": fixed, "found": found}
    return {
        system.name: {
            name: measure_faces(system, whole if name == "aligned" and system.model.sees_frames_apart else faces)
            for name, faces in ways.items()
        }
        for system in systems
    }


def measure_muxspace(systems: Sequence[System], room: Room) -> dict[str, Any]:
    """Photographs of muxspace's test people, found in the pictures; up to `PHOTOGRAPHS_PER_CLASS` of each class."""
    faces = muxspace_faces(room.folder("muxspace"), systems[0].predictor.detector, PHOTOGRAPHS_PER_CLASS)
    measured = {}
    for system in systems:
        card = measure_faces(system, faces)
        recalls = [card["recall"][name] for name in COMMON]
        measured[system.name] = card | {"mean_recall_of_five": round(float(np.mean(recalls)), 4)}
    return measured


def measure_london(systems: Sequence[System], room: Room) -> dict[str, Any]:
    """Smiling and neutral portraits of the London Set, found in the pictures, by gender, age and ethnicity."""
    pictures, asked, traits = london_pictures(room.folder("london"))
    faces = found_faces(pictures, asked, systems[0].predictor.detector, traits)
    measured = {}
    for system in systems:
        outputs = system.answer_stills(faces.crops)
        is_right, labels = outputs.decided == faces.asked.labels, faces.asked.labels
        groups = {
            f"{trait}: {value}": {
                "people": len({person for person, other in zip(faces.asked.persons or (), values, strict=True)
                               if other == value}),
                **{NAMES[label]: percent(float(is_right[(values == value) & (labels == label)].mean()))
                   for label in np.unique(labels[values == value])},
            }
            for trait, values in faces.traits.items()
            for value in np.unique(values)
        }  # fmt: skip
        card = scorecard(faces.asked, outputs.decided)
        measured[system.name] = card | {"not_found": faces.not_found, "groups": groups}
    return measured


def measure_faces(system: System, faces: Faces) -> dict[str, Any]:
    """Everything that is measured on one set of faces."""
    outputs = system.answer_stills(faces.crops)
    return {
        **scorecard(faces.asked, outputs.decided),
        "not_found": faces.not_found,
        "confidence": confidence(system, faces.asked, outputs),
    }
