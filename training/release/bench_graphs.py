"""What weights of fewer bytes change: `python -m training.release.bench_graphs FOLDER … --data-root <folder>`.

Each folder is one of `dfer export --onnx`; the first is what the others are compared with. All answer the same sample
of FER+'s valid split, aligned by exact points.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from dfer_hf.engines.onnx_engine import FRAMES, OnnxEngine
from training.release.bench_data import ferplus_faces, ferplus_split
from training.release.bench_room import Room
from training.release.bench_stills import STILLS_PER_CLASS
from training.release.scoring import scorecard


def answer_stills(engine: OnnxEngine, crops: np.ndarray) -> np.ndarray:
    """Answer aligned crops `(count, 112, 112, 3)` as pictures, one frame repeated: classes `(count,)`."""
    num_frames = 1 if engine.takes_any_length else engine.answer_rules.num_frames
    if (engine.folder / FRAMES).is_file():
        encoded = engine.encode(crops)
        answers = [
            engine.answer_encoded([encoded[place : place + 1]] * num_frames, frames_per_second=None)[0].fine
            for place in range(len(crops))
        ]
        return engine.decide(np.concatenate(answers))
    clips = (np.repeat(crop[None], num_frames, axis=0) for crop in crops)
    return engine.decide(engine.answer(clips).fine)


def main() -> None:
    """Answer with the graphs of each folder, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of `dfer export --onnx`")
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds the datasets' folders")
    arguments = parser.parse_args()
    faces = ferplus_faces(ferplus_split(Room(arguments.data_root).folder("ferplus")), STILLS_PER_CLASS)
    first = None
    for folder in arguments.folders:
        decided = answer_stills(OnnxEngine(folder), faces.crops)
        first = decided if first is None else first
        card, size = scorecard(faces.asked, decided), sum(file.stat().st_size for file in folder.iterdir())
        sys.stdout.write(
            f"{folder.name}: {size / 1e6:.1f} MB, UAR {card['uar']:.1f}, WAR {card['war']:.1f}, "
            f"{(decided != first).sum()} of {len(faces)} answers differ from the first\n"
        )


if __name__ == "__main__":
    main()
