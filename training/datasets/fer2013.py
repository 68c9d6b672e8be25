"""FER2013 (Goodfellow et al. 2013): 48×48 grey stills, with its own labels or by the votes of FER+ (Barsoum et al. 2016).

Its pictures stand in a table and have no files of their own: `python training/datasets/fer2013.py <release> <folder>`
writes them once, and the corpora `fer2013` and `fer2013_plus` read that folder.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import FRAME_SUFFIXES, Clip, Corpus, CorpusError, Split
from training.datasets.folds import require_one_division
from training.datasets.labels import emotion_named

SIZE = 48
LABELS: dict[str, Emotion] = {
    "0": Emotion.ANGER,
    "1": Emotion.DISGUST,
    "2": Emotion.FEAR,
    "3": Emotion.HAPPINESS,
    "4": Emotion.SADNESS,
    "5": Emotion.SURPRISE,
    "6": Emotion.NEUTRAL,
}
PARTS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
"""Column `Usage`, and what it is called in the written table. The challenge was decided on PrivateTest."""

RELEASE_FILES = ("fer2013.csv", "icml_face_data.csv")
VOTES_FILE = "fer2013new.csv"
METADATA = "metadata.csv"
VOTE_COLUMNS = (*map(str, (*SEVEN_EMOTIONS, Emotion.CONTEMPT)), "unknown", "NF")
PLUS_LABELS = (*SEVEN_EMOTIONS, Emotion.CONTEMPT)
NOT_TESTED = "PublicTest, which the authors validate on"


def majority(votes: Mapping[str, int]) -> Emotion | None:
    """The class that FER+'s `majority` mode gives a face, None where it gives none.

    Single votes do not count, and the winner needs more than half of those that do: after microsoft/FERPlus,
    src/ferplus.py. Faces that are unknown or no faces have no class.

    >>> majority({"neutral": 1, "happiness": 5, "surprise": 4})
    <Emotion.HAPPINESS: 'happiness'>
    >>> majority({"happiness": 5, "surprise": 5}) is None
    True
    """
    counted = {name: count for name, count in votes.items() if count > 1}
    winner = max(counted, key=lambda name: counted[name], default=None)
    if winner is None or 2 * counted[winner] <= sum(counted.values()):
        return None
    return Emotion(winner) if winner in tuple(map(str, PLUS_LABELS)) else None


def unpack(release: Path, folder: Path) -> int:
    """Write the pictures as PNG files, and `metadata.csv` with label, part and, where the release has them, votes.

    Args:
        release: Folder with `fer2013.csv` or `icml_face_data.csv`, and `fer2013new.csv` of FER+ where it is wanted.
        folder: Where to write; the table is written last, so that a folder without it is known to be unfinished.

    Returns:
        Number of pictures.

    Raises:
        CorpusError: If the release has no table, a line is malformed, the votes belong to another table, or the
            folder has been written already.
    """
    table = next((release / name for name in RELEASE_FILES if (release / name).is_file()), None)
    if table is None:
        raise CorpusError(f"Expected {' or '.join(RELEASE_FILES)} in {release}, found neither. Pass the release.")
    if (folder / METADATA).exists():
        raise CorpusError(f"Expected a folder to write to, but {folder / METADATA} is there. Name a new folder.")
    votes = _read_votes(release / VOTES_FILE) if (release / VOTES_FILE).is_file() else None
    for part in PARTS.values():
        (folder / part).mkdir(parents=True, exist_ok=True)
    rows: list[list[str | int]] = []
    for number, (usage, label, image, place) in enumerate(tqdm(_read_release(table), desc="pictures", disable=None)):
        name = f"{PARTS[usage]}/{number:05d}.png"
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        row: list[str | int] = [name, str(label), PARTS[usage]]
        if votes is not None:
            if number >= len(votes) or votes[number][0] != usage:
                raise CorpusError(
                    f"Expected the rows of {VOTES_FILE} in the order of {table.name}, but its row {number + 1} is not "
                    f"of {usage} ({place}). Take both from their first sources."
                )
            row += votes[number][1]
        rows.append(row)
    if votes is not None and len(votes) != len(rows):
        raise CorpusError(
            f"Expected as many rows in {VOTES_FILE} as in {table.name}, got {len(votes)} and {len(rows)}. "
            "Take both from their first sources."
        )
    with (folder / METADATA).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "split", *(VOTE_COLUMNS if votes is not None else ())])
        writer.writerows(rows)
    return len(rows)


def load(root: Path, fold: int | None = None, *, by_votes: bool = False) -> Split:
    """Read a folder that `unpack` wrote, or the release in circulation as `train/<class>` and `test/<class>`.

    Trained is on Training, tested on PrivateTest. In the release of folders both test sets lie in `test`: pictures
    named `PublicTest_...` are left out here too, and where names do not say, all of `test` is tested on.

    Args:
        root: The folder.
        fold: There is one division only.
        by_votes: Give each face the majority of FER+'s votes, with contempt as eighth class.

    Raises:
        CorpusError: If the pictures were never written, there are none, a line is malformed, a class is unknown, or
            votes are asked for and missing.
    """
    require_one_division(CORPUS.title, fold)
    left_out: Counter[str] = Counter()
    if (root / METADATA).is_file():
        train, test = _read_unpacked(root, by_votes, left_out)
    elif (root / "train").is_dir() and (root / "test").is_dir() and not by_votes:
        train, test = (_read_classes(root, part, left_out) for part in ("train", "test"))
    else:
        raise CorpusError(_what_is_missing(root, by_votes))
    name, labels = (PLUS.name, PLUS_LABELS) if by_votes else (CORPUS.name, SEVEN_EMOTIONS)
    return Split(name, None, labels, tuple(train), tuple(test), dict(left_out))


def _what_is_missing(root: Path, by_votes: bool) -> str:
    table = next((name for name in RELEASE_FILES if (root / name).is_file()), None)
    command = "python training/datasets/fer2013.py <release> <folder>"
    if table is not None:
        return (
            f"Expected pictures in files, got the table {root / table}. Write them once with `{command}`"
            f"{f', with {VOTES_FILE} of FER+ beside the table' if by_votes else ''}, and pass that folder."
        )
    folders = "" if by_votes else ", or folders such as train/happy and test/happy,"
    return f"Expected {METADATA}{folders} in {root}, found none. Pass the folder written with `{command}`."


def _read_release(table: Path) -> Iterator[tuple[str, Emotion, np.ndarray, str]]:
    """Usage, label and picture of each line, and the place of the line."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        reader.fieldnames = [name.strip().casefold() for name in reader.fieldnames or ()]
        if sorted(reader.fieldnames) != ["emotion", "pixels", "usage"]:
            raise CorpusError(
                f"Expected the columns emotion, pixels and Usage, got {', '.join(reader.fieldnames)} "
                f"({table.name}, line 1). The table with all parts is {' or '.join(RELEASE_FILES)}."
            )
        for row in reader:
            place = f"{table.name}, line {reader.line_num}"
            values = (row["emotion"] or "").strip(), (row["usage"] or "").strip()
            if values[0] not in LABELS or values[1] not in PARTS:
                known = ", ".join(f"{code} {emotion}" for code, emotion in LABELS.items())
                raise CorpusError(
                    f"Expected a class ({known}) and a part ({', '.join(PARTS)}), got {' and '.join(values)} ({place})."
                )
            pixels = (row["pixels"] or "").split()
            if len(pixels) != SIZE**2 or not all(pixel.isdecimal() and int(pixel) < 256 for pixel in pixels):
                raise CorpusError(
                    f"Expected {SIZE**2} grey values from 0 to 255, got {len(pixels)} fields or other values ({place}). "
                    "Fetch the table again."
                )
            image = np.array(pixels, dtype=np.uint8).reshape(SIZE, SIZE)
            yield values[1], LABELS[values[0]], image, place


def _read_votes(path: Path) -> list[tuple[str, list[int]]]:
    """Usage and votes of each row, those in the order of `VOTE_COLUMNS`."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = [name for name in ("Usage", *VOTE_COLUMNS) if name not in (reader.fieldnames or ())]
        if missing:
            raise CorpusError(f"Expected the column {missing[0]} of FER+ ({path.name}, line 1), found none.")
        return [(row["Usage"], _votes(row, f"{path.name}, line {reader.line_num}")) for row in reader]


def _votes(row: Mapping[str, str | None], place: str) -> list[int]:
    counts = [(row[name] or "").strip() for name in VOTE_COLUMNS]
    if not all(count.isdecimal() for count in counts):
        raise CorpusError(f"Expected ten numbers of votes, got {', '.join(counts)} ({place}). Fetch the table again.")
    return [int(count) for count in counts]


def _read_unpacked(root: Path, by_votes: bool, left_out: Counter[str]) -> tuple[list[Clip], list[Clip]]:
    parts: dict[str, list[Clip]] = {"train": [], "test": []}
    with (root / METADATA).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        wanted: Sequence[str] = ("file_name", "label", "split", *(VOTE_COLUMNS if by_votes else ()))
        missing = [name for name in wanted if name not in (reader.fieldnames or ())]
        if missing:
            raise CorpusError(
                f"Expected the column {missing[0]} in {root / METADATA}, found none. Write the pictures again"
                f"{f' with {VOTES_FILE} of FER+ beside the table' if by_votes else ''}."
            )
        for row in reader:
            place = f"{METADATA}, line {reader.line_num}"
            if None in row or None in row.values() or row["split"] not in PARTS.values():
                raise CorpusError(
                    f"Expected {len(reader.fieldnames or ())} fields and a split of {', '.join(PARTS.values())} "
                    f"({place}). Write the pictures again."
                )
            if row["split"] == "validation":
                left_out[NOT_TESTED] += 1
                continue
            label = emotion_named(row["label"], place)
            if by_votes:
                voted = majority(dict(zip(VOTE_COLUMNS, _votes(row, place), strict=True)))
                if voted is None:
                    left_out["no majority, unknown or no face (FER+)"] += 1
                    continue
                label = voted
            parts[row["split"]].append(Clip(row["file_name"], root / row["file_name"], label))
    return parts["train"], parts["test"]


def _read_classes(root: Path, part: str, left_out: Counter[str]) -> list[Clip]:
    clips = []
    for folder in sorted(path for path in (root / part).iterdir() if path.is_dir()):
        label = emotion_named(folder.name, str(folder))
        if label not in SEVEN_EMOTIONS:
            raise CorpusError(f"Expected one of {', '.join(SEVEN_EMOTIONS)}, got the folder {folder}. Move it.")
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.suffix.lower() not in FRAME_SUFFIXES:
                continue
            if path.name.startswith("PublicTest_"):
                left_out[NOT_TESTED] += 1
            else:
                clips.append(Clip(path.relative_to(root).as_posix(), path, label))
    if not clips:
        raise CorpusError(f"Expected pictures such as {part}/happy/*.jpg in {root}, found none. Unpack the release.")
    return clips


PLUS = Corpus(
    name="fer2013_plus",
    title="FER2013 by the votes of FER+",
    load=partial(load, by_votes=True),
    num_folds=1,
    expected={},
    source="Barsoum et al. 2016 (ICMI); microsoft/FERPlus: README.md, fer2013new.csv, src/ferplus.py (mode `majority`).",
)
CORPUS = Corpus(
    name="fer2013",
    title="FER2013",
    load=load,
    num_folds=1,
    expected={
        "1": {"train": 28709, "test": 3589},
        "classes": {
            "happiness": 8094,
            "sadness": 5424,
            "neutral": 5591,
            "anger": 4486,
            "surprise": 3587,
            "disgust": 491,
            "fear": 4625,
        },
    },
    source=(
        "Goodfellow et al. 2013, Challenges in representation learning: a report on three machine learning contests; "
        "28,709 Training, 3,589 PublicTest and 3,589 PrivateTest as the challenge's page counts them."
    ),
)


def main() -> None:
    """Read the command line and unpack."""
    parser = argparse.ArgumentParser(description="Write the pictures of FER2013 from its table.")
    parser.add_argument("release", type=Path, help=f"folder with {' or '.join(RELEASE_FILES)}, perhaps {VOTES_FILE}")
    parser.add_argument("folder", type=Path, help="where to write")
    arguments = parser.parse_args()
    tqdm.write(f"{unpack(arguments.release, arguments.folder)} pictures in {arguments.folder}")


if __name__ == "__main__":
    main()
