"""Write the pictures of FER2013 into files: `python -m training.datasets.unpack_fer2013 <release> <folder>`.

The release holds them in a table of numbers. `fer2013` and `fer2013_plus` read the folder that is written.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import CorpusError
from training.datasets.fer2013 import COLUMNS, METADATA, RELEASE_FILES, find_table
from training.datasets.fer2013_plus import VOTE_COLUMNS, VOTES_FILE, read_votes

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
"""Value of the column `Usage` to the part in the written table. The challenge was decided on PrivateTest."""


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
    table = find_table(release)
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
        writer.writerow([*COLUMNS, *(VOTE_COLUMNS if votes is not None else ())])
        writer.writerows(rows)
    return len(rows)


def _read_release(table: Path) -> Iterator[tuple[str, Emotion, np.ndarray, str]]:
    """Yield usage, label, picture and place of each line."""
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
                    f"Expected a class ({known}) and a part ({', '.join(PARTS)}), got {' and '.join(values)} "
                    f"({place}). Fetch the table again."
                )
            pixels = (row["pixels"] or "").split()
            if len(pixels) != SIZE**2 or not all(pixel.isdecimal() and int(pixel) < 256 for pixel in pixels):
                raise CorpusError(
                    f"Expected {SIZE**2} grey values from 0 to 255, got {len(pixels)} fields or other values "
                    f"({place}). Fetch the table again."
                )
            image = np.array(pixels, dtype=np.uint8).reshape(SIZE, SIZE)
            yield values[1], LABELS[values[0]], image, place


def _read_votes(path: Path) -> list[tuple[str, list[int]]]:
    """Read the usage of each row, and its votes in the order of `VOTE_COLUMNS`."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = [name for name in ("Usage", *VOTE_COLUMNS) if name not in (reader.fieldnames or ())]
        if missing:
            raise CorpusError(f"Expected the column {missing[0]} of FER+ ({path.name}, line 1), found none.")
        return [(row["Usage"], read_votes(row, f"{path.name}, line {reader.line_num}")) for row in reader]


def main() -> None:
    """Read the command line and unpack."""
    parser = argparse.ArgumentParser(description="Write the pictures of FER2013 from its table.")
    parser.add_argument("release", type=Path, help=f"folder with {' or '.join(RELEASE_FILES)}, perhaps {VOTES_FILE}")
    parser.add_argument("folder", type=Path, help="where to write")
    arguments = parser.parse_args()
    tqdm.write(f"{unpack(arguments.release, arguments.folder)} pictures in {arguments.folder}")


if __name__ == "__main__":
    main()
