"""Read any folder of clips: `class/clip`, with or without `train` and `test` above, or a `metadata.csv`.

The dataset `folder` knows the emotions in many spellings, and draws a part to test on. `own_classes` takes any class
names as they are, and has a test part only where the folder has one.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.labels import emotion_named
from training.datasets.media import is_picture, is_video

METADATA = "metadata.csv"
COLUMNS = ("file_name", "label")
TEST_SHARE = 0.2
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation", "dev")

NameClass = Callable[[str, str], str]


@dataclass(frozen=True)
class _Entry:
    clip: Clip
    part: str | None


def load(root: Path, fold: int | None = None, *, own_classes: bool = False) -> Split:
    """Read `metadata.csv` where there is one (`file_name,label`, and perhaps `split` and `person`), else folders.

    Clips are videos, pictures, or folders of frames. Parts named `train` and `test` are kept. A part named `val`,
    `valid`, `validation` or `dev` is the test part where there is no `test`, and left out where there is one.
    Without parts a fifth is drawn to test on: by person where people are named, else clip by clip within its class.
    The draw is the SHA-256 of the name and of nothing else, so that a further clip moves no other.

    Args:
        root: The folder.
        fold: There is one division only.
        own_classes: Take class names as they are, and draw no part to test on.

    Raises:
        CorpusError: If there is neither table nor folder of clips, a class is unknown or the only one, a line is
            malformed, a person is in both parts, or one of the parts is empty.
    """
    check_fold(CORPUS.title, fold, 1)
    left_out: Counter[str] = Counter()
    name_class = _own_name if own_classes else emotion_named
    entries = (
        _read_table(root, name_class) if (root / METADATA).is_file() else _read_folders(root, left_out, name_class)
    )
    train, test = _divide(entries, left_out, draw=not own_classes)
    people = sorted({clip.person for clip in train if clip.person} & {clip.person for clip in test})
    if people:
        raise CorpusError(
            f"Expected nobody both in training and in test, but {', '.join(people[:5])} are ({len(people)} people). "
            f"Correct the column split of {METADATA}."
        )
    present = {str(clip.label) for clip in (*train, *test)}
    if own_classes:
        if len({clip.label for clip in train}) < 2:
            raise CorpusError(
                f"Expected clips of two or more classes to train on in {root}, got {', '.join(present) or 'none'}. "
                "Add a folder of clips for each class."
            )
        return Split(OWN_CLASSES.name, None, tuple(sorted(present)), train, test, dict(left_out))
    if not train or not test:
        raise CorpusError(
            f"Expected clips to train on and clips to test on in {root}, got {len(train)} and {len(test)}. Add clips, "
            f"or say which are which: folders train and test, or a column split in {METADATA}."
        )
    label_names = tuple(emotion for emotion in Emotion if str(emotion) in present)
    return Split(CORPUS.name, None, label_names, train, test, dict(left_out))


def _own_name(word: str, place: str) -> str:
    if not word.strip():
        raise CorpusError(f"Expected the name of a class, got none ({place}). Fill it in.")
    return word.strip()


def _divide(entries: list[_Entry], left_out: Counter[str], *, draw: bool) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    parts: dict[str, list[Clip]] = {"train": [], "test": [], "validation": []}
    if any(entry.part for entry in entries):
        for entry in entries:
            if entry.part is None:
                raise CorpusError(
                    f"Expected every clip in a part or none, but {entry.clip.name} is in none. Fill the column split."
                )
            parts[entry.part].append(entry.clip)
    else:
        for entry in entries:
            drawn = draw and _is_drawn(entry.clip.person or entry.clip.name)
            parts["test" if drawn else "train"].append(entry.clip)
    if parts["validation"] and parts["test"]:
        left_out["in the part for validation"] += len(parts["validation"])
        return tuple(parts["train"]), tuple(parts["test"])
    return tuple(parts["train"]), tuple(parts["test"] or parts["validation"])


def _is_drawn(name: str) -> bool:
    digest = hashlib.sha256(name.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") < TEST_SHARE * 2**64


def _part_named(word: str) -> str | None:
    for part, names in (("train", TRAIN_NAMES), ("test", TEST_NAMES), ("validation", VALIDATION_NAMES)):
        if word.strip().casefold() in names:
            return part
    return None


def _read_table(root: Path, name_class: NameClass) -> list[_Entry]:
    entries: list[_Entry] = []
    seen: set[str] = set()
    with (root / METADATA).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        missing = [name for name in COLUMNS if name not in reader.fieldnames]
        if missing:
            raise CorpusError(
                f"Expected the columns {', '.join(COLUMNS)} and perhaps split and person, got "
                f"{', '.join(reader.fieldnames)} ({METADATA}, line 1). Add {', '.join(missing)}."
            )
        for row in reader:
            place = f"{METADATA}, line {reader.line_num}"
            if None in row or None in row.values() or not row["file_name"].strip():
                raise CorpusError(
                    f"Expected {len(reader.fieldnames)} fields with a file name, got another number or none ({place})."
                )
            name = PurePosixPath(row["file_name"].strip().replace("\\", "/")).as_posix()
            if name in seen:
                raise CorpusError(f"Expected every clip once, got {name} again ({place}). Take one line out.")
            seen.add(name)
            entries.append(_Entry(_clip_of_row(root, name, row, place, name_class), _part_of_row(row, place)))
    return entries


def _clip_of_row(root: Path, name: str, row: dict[str, str], place: str, name_class: NameClass) -> Clip:
    label = name_class(row["label"], place)
    return Clip(name, root / name, label, person=row.get("person", "").strip() or None)


def _part_of_row(row: dict[str, str], place: str) -> str | None:
    word = row.get("split", "").strip()
    part = _part_named(word)
    if word and part is None:
        known = ", ".join((*TRAIN_NAMES, *TEST_NAMES, *VALIDATION_NAMES))
        raise CorpusError(f"Expected a part, got {word!r} ({place}). Known: {known}.")
    return part


def _read_folders(root: Path, left_out: Counter[str], name_class: NameClass) -> list[_Entry]:
    folders = _folders_of(root) if root.is_dir() else []
    if not folders:
        raise CorpusError(
            f"Expected {METADATA}, or folders such as happy/clip.mp4 or train/happy/clip.mp4 and test/happy/clip.mp4 "
            f"in {root}, found none. Pass the folder that holds them."
        )
    parts = {folder: part for folder in folders if (part := _part_named(folder.name))}
    if not parts:
        return _read_classes(root, root, None, left_out, name_class)
    strangers = [folder.name for folder in folders if folder not in parts]
    if strangers:
        raise CorpusError(
            f"Expected only parts beside {', '.join(folder.name for folder in parts)}, got {', '.join(strangers)} in "
            f"{root}. Move them."
        )
    return [
        entry for folder, part in parts.items() for entry in _read_classes(root, folder, part, left_out, name_class)
    ]


def _read_classes(
    root: Path, folder: Path, part: str | None, left_out: Counter[str], name_class: NameClass
) -> list[_Entry]:
    entries = []
    for class_folder in _folders_of(folder):
        label = name_class(class_folder.name, str(folder))
        for path in sorted(class_folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir() or is_video(path) or is_picture(path):
                entries.append(_Entry(Clip(path.relative_to(root).as_posix(), path, label), part))
            else:
                left_out["neither a video, a picture nor a folder"] += 1
    return entries


def _folders_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


SOURCE = "Columns of metadata.csv as in the Hugging Face datasets library's imagefolder and videofolder."

CORPUS = Corpus(name="folder", title="a folder of clips", load=load, num_folds=1, expected={}, source=SOURCE)
OWN_CLASSES = Corpus(
    name="own_classes",
    title="a folder of clips with classes of one's own",
    load=partial(load, own_classes=True),
    num_folds=1,
    expected={},
    source=SOURCE,
)
