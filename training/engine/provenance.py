"""Record which clips a run learns from, so that its checkpoint is not tested on them."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.config import TrainConfig
from training.data.sources import Data, names_hash
from training.datasets.corpus import Split
from training.datasets.folds import name_fold
from training.disk import plain_hash
from training.engine.run_folder import RunFolder

COLUMNS = ("corpus", "name", "part")


class SeenClipsError(ValueError):
    """A checkpoint would be tested on clips that it has learnt from."""


def run_settings(data: Data, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `run.json` records beside configuration and versions: the data, and a hash of the recipe.

    Args:
        data: The data of the run.
        config: The recipe as plain values.
    """
    return {**data.record, "recipe_sha256": recipe_hash(config)}


def recipe_hash(config: Mapping[str, Any]) -> str:
    """Hash a recipe; a run that it starts from is represented by the hash of its own recipe, not by its folder."""
    sources = [RunFolder.around(source) for source in config["initialise_from"]]
    named = [
        str(source) if run is None else run.read_record().get("recipe_sha256", str(source))
        for source, run in zip(config["initialise_from"], sources, strict=True)
    ]
    values = {name: value for name, value in config.items() if name != "trackers"} | {"initialise_from": named}
    return plain_hash(values)


def write_clips(run: RunFolder, data: Data, config: TrainConfig) -> None:
    """Write which clips a run learns from, including those of the runs it starts from."""
    corpus = data.record["corpus"]
    rows = [(corpus, name, part) for part in ("training", "validation") for name in data.clips.get(part, ())]
    for source in config.initialise_from:
        begun = RunFolder.around(source)
        if begun is not None and begun.clips_file.is_file():
            rows += [(row["corpus"], row["name"], "initialisation") for row in _read_clips(begun)]
    with run.clips_file.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(dict.fromkeys(rows))


def seen_clips(run: RunFolder, split: Split, names: Sequence[str]) -> list[str]:
    """Return the clips among `names`, which are of the split's dataset, that a run has learnt from.

    A checkpoint that was moved away from its run folder knows the hash of its test part only: if the names are not
    that part, all of them count as seen.
    """
    if run.clips_file.is_file():
        seen = {row["name"] for row in _read_clips(run) if is_related(row["corpus"], split.corpus)}
        return [name for name in names if name in seen]
    record = run.read_record()
    is_test_part = names_hash(names) == record.get("split", {}).get("test", {}).get("sha256")
    return list(names) if is_related(record.get("corpus", ""), split.corpus) and not is_test_part else []


def check_unseen(run: RunFolder, seen: Sequence[str], num_clips: int) -> None:
    """Refuse to test a run on clips that it has learnt from.

    Args:
        run: The run.
        seen: Result of `seen_clips`.
        num_clips: How many clips it would be tested on.

    Raises:
        SeenClipsError: If it has seen any of the clips.
    """
    if seen:
        record = run.read_record()
        raise SeenClipsError(
            "Expected clips that the checkpoint has not seen, but it was trained on "
            f"{record.get('corpus')}{name_fold(record.get('fold'))}, and as far as is known {len(seen)} of the "
            f"{num_clips} clips, such as "
            f"{seen[0]!r}, are among those it has learnt from. Evaluate on the fold it was trained on, or give "
            "--allow-seen, which the results will say."
        )


def is_related(corpus: str, other: str) -> bool:
    """Return whether two datasets hold the same recordings, as `raf_db` and `raf_db_original` do."""
    shorter, longer = sorted((corpus, other), key=len)
    return bool(shorter) and (shorter == longer or longer.startswith(f"{shorter}_"))


def _read_clips(run: RunFolder) -> Iterable[dict[str, str]]:
    with run.clips_file.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
