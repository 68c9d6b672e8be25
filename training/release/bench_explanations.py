"""Whether explanations show what the answer rests on: insertion and deletion, beside another clip's explanation."""

from collections.abc import Sequence
from typing import Any

from training.data.still_dataset import StillSource
from training.evaluation.faithfulness import clips_for, measure, quick_methods, summarise
from training.release.bench_data import ferplus_split
from training.release.bench_room import Room
from training.release.systems import System

EVERY_NTH_STILL = 100


def measure_explanations(systems: Sequence[System], room: Room) -> dict[str, Any]:
    """Measure every method that a system offers but the slow one, on clips of stills of FER+'s valid split."""
    faces = ferplus_split(room.folder("ferplus"))
    stills = StillSource(faces.subset(range(0, len(faces), EVERY_NTH_STILL)))
    measured = {}
    for system in systems:
        clips = clips_for(system.model, stills)
        places, frames = measure(system.model, clips, quick_methods(system.model))
        measured[system.name] = {"count": len(clips), "places": summarise(places), "frames": summarise(frames)}
    return measured
