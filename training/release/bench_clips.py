"""Clips with a share of noise: a system beside the mean of its own frame answers and beside the frame recogniser."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluation.metrics import percent
from training.release.bench_corruptions import uar
from training.release.bench_data import BenchClips, ferplus_split, noise_bench
from training.release.bench_room import Room
from training.release.scoring import Asked, confidence, difference, scorecard
from training.release.systems import RECOGNISER, ClipOutputs, System

CLIPS_PER_CLASS = 6
HALF = 0.5
VARIANTS = {"4 frames": slice(6, 10), "8 frames": slice(4, 12), "every fourth frame": slice(None, None, 4)}
"""Shortened clips, around their middle, and clips at a lower frame rate."""


def measure_clips(systems: Sequence[System], room: Room) -> dict[str, Any]:
    """Answer clips of faces of FER+'s valid split with 0, 25, 50 and 75 % noise of each kind.

    Up to `CLIPS_PER_CLASS` clips of each class, kind and share. Frame weights are those of frames on and off target as
    a share of an even one. Clips with half of their frames noise are answered again in `VARIANTS`. The frame
    recogniser has to be among the systems.
    """
    split = ferplus_split(room.folder("ferplus"))
    outputs: dict[str, list[ClipOutputs]] = {system.name: [] for system in systems}
    shorter: dict[str, dict[str, list[ClipOutputs]]] = {system.name: {} for system in systems}
    cells: list[tuple[str, float, BenchClips]] = []
    for kind, share, clips in noise_bench(split, CLIPS_PER_CLASS):
        for system in systems:
            outputs[system.name].append(system.answer_clips(clips.crops))
            if share == HALF:
                for name, kept in VARIANTS.items():
                    shorter[system.name].setdefault(name, []).append(system.answer_clips(clips.crops[:, kept]))
        cells.append((kind, share, BenchClips(np.empty(0), clips.asked, clips.off_target)))
    return {
        system.name: summarise(system, cells, outputs[system.name], outputs[RECOGNISER])
        | {"length_and_rate": by_variant(cells, outputs[system.name], shorter[system.name])}
        for system in systems
    }


def summarise(
    system: System,
    cells: Sequence[tuple[str, float, BenchClips]],
    outputs: Sequence[ClipOutputs],
    of_recogniser: Sequence[ClipOutputs],
) -> dict[str, Any]:
    """Figures of each kind and share, of each share over all kinds, and of confidence."""
    by_share = {}
    for share in sorted({share for _, share, _ in cells}):
        places = [place for place, cell in enumerate(cells) if cell[1] == share]
        asked = Asked.join([cells[place][2].asked for place in places])
        ours, theirs = (ClipOutputs.join([given[place] for place in places]) for given in (outputs, of_recogniser))
        card = scorecard(asked, ours.decided)
        card.pop("confusion")
        by_share[f"{share:.0%}"] = {
            **card,
            "own_frames": percent(uar(ours.of_frames, asked.labels)),
            "recogniser": percent(uar(theirs.of_frames, asked.labels)),
            "above_own_frames": difference(asked, ours.decided, ours.of_frames),
            "above_recogniser": difference(asked, ours.decided, theirs.of_frames),
            "frame_weight": frame_weight([cells[place][2] for place in places], [outputs[place] for place in places],
                                         system),
            "by_kind": {
                cells[place][0]: {
                    "uar": percent(uar(outputs[place].decided, cells[place][2].asked.labels)),
                    "recogniser": percent(uar(of_recogniser[place].of_frames, cells[place][2].asked.labels)),
                }
                for place in places
            },
        }  # fmt: skip
    asked, joined = Asked.join([cell.asked for _, _, cell in cells]), ClipOutputs.join(outputs)
    return {"by_share": by_share, "confidence": confidence(system, asked, joined)}


def frame_weight(
    clips: Sequence[BenchClips], outputs: Sequence[ClipOutputs], system: System
) -> dict[str, float | None]:
    """Mean weight of frames on and off target, in percent of an even share; None where there is no such frame."""
    on_target, off_target = [], []
    for cell, output in zip(clips, outputs, strict=True):
        looked_at = system.processor.sampling.indices(cell.off_target.shape[1])
        wrong = cell.off_target[:, looked_at]
        shares = output.frame_weights * output.frame_weights.shape[1]
        on_target.append(shares[~wrong])
        off_target.append(shares[wrong])
    return {
        name: percent(float(np.concatenate(parts).mean())) if sum(map(len, parts)) else None
        for name, parts in (("on_target", on_target), ("off_target", off_target))
    }


def by_variant(
    cells: Sequence[tuple[str, float, BenchClips]],
    outputs: Sequence[ClipOutputs],
    shorter: dict[str, list[ClipOutputs]],
) -> dict[str, float | None]:
    """UAR of clips with half of their frames noise: whole, shortened, and at lower frame rates."""
    places = [place for place, cell in enumerate(cells) if cell[1] == HALF]
    labels = np.concatenate([cells[place][2].asked.labels for place in places])
    whole = np.concatenate([outputs[place].decided for place in places])
    answers = {"whole": whole} | {name: ClipOutputs.join(parts).decided for name, parts in shorter.items()}
    return {name: percent(uar(decided, labels)) for name, decided in answers.items()}
