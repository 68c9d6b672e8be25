"""FER2013: 48×48 grey stills of seven emotions (Goodfellow et al. 2013), in files that `unpack_fer2013` writes."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.labels import emotion_named
from training.datasets.media import is_picture

PARTS = ("train", "validation", "test")
"""Parts of the table that `unpack_fer2013` writes."""

METADATA = "metadata.csv"
COLUMNS = ("file_name", "label", "split")
RELEASE_FILES = ("fer2013.csv", "icml_face_data.csv")
UNPACK = "python -m training.datasets.unpack_fer2013 <release> <folder>"
NOT_TESTED = "PublicTest, which the authors validate on"


def load(root: Path, fold: int | None = None) -> Split:
    """Read a folder that `unpack_fer2013` wrote, or the release in circulation as `train/<class>` and `test/<class>`.

    Training is the part to train on, PrivateTest the part to test on. In the release of folders both test sets are in
    `test`: pictures named `PublicTest_...` are left out here too, and where names do not tell, all of `test` is the
    test part.

    Args:
        root: The folder.
        fold: There is one division only.

    Raises:
        CorpusError: If the pictures were never written, there are none, a line is malformed, or a class is unknown.
    """
    check_fold(CORPUS.title, fold, 1)
    left_out: Counter[str] = Counter()
    parts: dict[str, list[Clip]] = {"train": [], "test": []}
    if (root / METADATA).is_file():
        for row, place in read_unpacked(root, COLUMNS, left_out):
            label = emotion_named(row["label"], place)
            parts[row["split"]].append(Clip(row["file_name"], root / row["file_name"], label))
    elif (root / "train").is_dir() and (root / "test").is_dir():
        parts = {part: _read_classes(root, part, left_out) for part in parts}
    else:
        raise CorpusError(
            f"Expected {METADATA}, or folders such as train/happy and test/happy, in {root}, found none. "
            f"{how_to_unpack(root)}"
        )
    return Split(CORPUS.name, None, SEVEN_EMOTIONS, tuple(parts["train"]), tuple(parts["test"]), dict(left_out))


def find_table(release: Path) -> Path | None:
    """Find the table of the release in a folder, where there is one."""
    return next((release / name for name in RELEASE_FILES if (release / name).is_file()), None)


def how_to_unpack(root: Path, beside: str = "") -> str:
    """Say how to turn the contents of a folder into pictures in files."""
    table = find_table(root)
    if table is None:
        return f"Pass the folder written with `{UNPACK}`."
    return f"The table {table} is there: write its pictures once with `{UNPACK}`{beside}, and pass that folder."


def read_unpacked(
    root: Path, columns: tuple[str, ...], left_out: Counter[str], advice: str = ""
) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the rows of a written table that are trained or tested on, each with its place.

    Args:
        root: Folder of the table.
        columns: Those that are needed.
        left_out: Counts the pictures of PublicTest.
        advice: Added to the message where a column is missing.

    Raises:
        CorpusError: If a column is missing, or a line is malformed.
    """
    with (root / METADATA).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise CorpusError(
                f"Expected the column {missing[0]} in {root / METADATA}, found none. Write the pictures again{advice}."
            )
        for row in reader:
            place = f"{METADATA}, line {reader.line_num}"
            if None in row or None in row.values() or row["split"] not in PARTS:
                raise CorpusError(
                    f"Expected {len(reader.fieldnames or ())} fields and a split of {', '.join(PARTS)} ({place}). "
                    "Write the pictures again."
                )
            if row["split"] == "validation":
                left_out[NOT_TESTED] += 1
            else:
                yield row, place


def _read_classes(root: Path, part: str, left_out: Counter[str]) -> list[Clip]:
    clips = []
    for folder in sorted(path for path in (root / part).iterdir() if path.is_dir()):
        label = emotion_named(folder.name, str(root / part), SEVEN_EMOTIONS)
        for path in sorted(folder.iterdir()):
            if not is_picture(path):
                continue
            if path.name.startswith("PublicTest_"):
                left_out[NOT_TESTED] += 1
            else:
                clips.append(Clip(path.relative_to(root).as_posix(), path, label))
    if not clips:
        raise CorpusError(f"Expected pictures such as {part}/happy/*.jpg in {root}, found none. Unpack the release.")
    return clips


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
