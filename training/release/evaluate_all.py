"""Measure the shipped checkpoints on every bench: `python -m training.release.evaluate_all --data-root <folder>`.

The folder holds the datasets `ferplus`, `muxspace` and `london`, as `docs/how-to/rebuild-checkpoints.md` describes
them. Figures go into `results.json` of each checkpoint and into its drawings; `make cards` puts them into cards and
manual. A bench whose data is not there is left out with a message, and keeps the figures that it has. Everything is
drawn by fixed rules: the same checkpoint gives the same figures on the same processor, but for those of cost.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dfer_hf.checkpoint_facts import versions
from dfer_hf.checkpoints import WEIGHTS, shipped_checkpoints
from training.evaluation.results import RESULTS
from training.release import (
    bench_clips,
    bench_conditions,
    bench_corruptions,
    bench_cost,
    bench_explanations,
    bench_stills,
)
from training.release.bench_room import DataMissingError, Room
from training.release.evaluation_figures import draw_checkpoint
from training.release.systems import RECOGNISER, System

Bench = Callable[[Sequence[System], Room], dict[str, Any]]
BENCHES: dict[str, Bench] = {
    "ferplus": bench_stills.measure_ferplus,
    "muxspace": bench_stills.measure_muxspace,
    "london": bench_stills.measure_london,
    "corruptions": bench_corruptions.measure_corruptions,
    "clips": bench_clips.measure_clips,
    "conditions": bench_conditions.measure_conditions,
    "explanations": bench_explanations.measure_explanations,
    "cost": lambda systems, _room: bench_cost.measure_cost(systems),
}
COMMAND = "make evaluate DATA=<folder of ferplus, muxspace and london>"
RULES = {
    "ferplus": f"valid split; up to {bench_stills.STILLS_PER_CLASS} faces of each class, evenly spaced; systems that "
    "encode each frame by itself see the whole split aligned exactly; confidence of every second face, as the others "
    "calibrate it",
    "muxspace": "people whose name's SHA-1 is divisible by ten; up to "
    f"{bench_stills.PHOTOGRAPHS_PER_CLASS} photographs of each label, evenly spaced",
    "london": "people whose number's SHA-1 is divisible by three, smiling and neutral",
    "corruptions": f"up to {bench_corruptions.STILLS_PER_CLASS} faces of each class of FER+ valid, each corrupted in "
    "one of ten ways and five severities, in turn",
    "clips": f"up to {bench_clips.CLIPS_PER_CLASS} clips of each class, kind and share of noise, of every second face "
    "of FER+ valid",
    "conditions": f"up to {bench_conditions.STILLS_PER_CLASS} faces of each class of FER+ valid; "
    "the London Set's test people, shrunk",
    "explanations": f"clips of every {bench_explanations.EVERY_NTH_STILL}th still of FER+ valid",
    "cost": f"least of {bench_cost.ROUNDS} rounds; the example clip",
}
"""What each bench shows; written beside the figures."""


def evaluate(
    systems: Sequence[System], room: Room, benches: Sequence[str], say: Callable[[str], object]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure systems bench by bench: its name, and figures by checkpoint; one without data is left out."""
    for name in benches:
        begun, begun_cpu = time.monotonic(), time.process_time()
        try:
            found = BENCHES[name](systems, room)
        except DataMissingError as error:
            say(f"{name}: left out. {error}\n")
            continue
        say(f"{name}: {time.monotonic() - begun:.0f} s, {time.process_time() - begun_cpu:.0f} s of CPU time\n")
        yield name, {checkpoint: {"rule": RULES[name]} | figures for checkpoint, figures in found.items()}


def store(checkpoint: Path, bench: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Put the figures of a bench into a checkpoint's results.json beside those of the others, and return all."""
    path = checkpoint / RESULTS
    known = json.loads(path.read_text(encoding="utf-8")).get("benches", {}) if path.is_file() else {}
    known[bench] = figures
    benches = {name: known[name] for name in BENCHES if name in known}
    results = {"checkpoint": checkpoint.name, "command": COMMAND, "versions": versions(), "benches": benches}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return results


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    """Read the command line, measure, write what each bench found, and draw."""
    shipped = shipped_checkpoints()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", help="shipped names or folders; all that ship where none is given")
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds the datasets' folders")
    parser.add_argument("--benches", nargs="+", choices=list(BENCHES), default=list(BENCHES))
    arguments = parser.parse_args()
    folders = [shipped.get(name, Path(name)).resolve() for name in arguments.checkpoints or shipped]
    unknown = [str(folder) for folder in folders if not (folder / WEIGHTS).is_file()]
    if unknown:
        parser.error(f"expected shipped checkpoints ({', '.join(shipped)}) or folders, got {', '.join(unknown)}")
    asked = [System.load(str(folder)) for folder in folders]
    beside = [] if any(system.name == RECOGNISER for system in asked) else [System.load(RECOGNISER)]
    results: dict[Path, dict[str, Any]] = {}
    for bench, found in evaluate([*asked, *beside], Room(arguments.data_root), arguments.benches, _say):
        results |= {folder: store(folder, bench, found[folder.name]) for folder in folders}
    for folder, stored in results.items():
        draw_checkpoint(stored, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
