"""RAF-DB: stills from the web with one of seven basic emotions (Li, Deng and Du 2017)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.media import is_picture

LABELS: dict[str, Emotion] = {
    "1": Emotion.SURPRISE,
    "2": Emotion.FEAR,
    "3": Emotion.DISGUST,
    "4": Emotion.HAPPINESS,
    "5": Emotion.SADNESS,
    "6": Emotion.ANGER,
    "7": Emotion.NEUTRAL,
}
# The release spells it so.
LABEL_FILE = Path("EmoLabel/list_patition_label.txt")
PICTURES = {"aligned": "_aligned.jpg", "original": ".jpg"}
"""Folder of `Image` and the suffix of its names: faces aligned to 100×100, or the original pictures."""


def load(root: Path, fold: int | None = None, *, pictures: str = "aligned") -> Split:
    """Read the single-label subset: the release, `basic`, or the aligned pictures in circulation as `train/<class>`.

    Args:
        root: Folder that holds `basic`, or `DATASET` with `train` and `test`; or one of these folders itself.
        fold: There is one division only.
        pictures: `aligned` or `original`.

    Raises:
        CorpusError: If the list of labels or the folder of pictures is missing, a line of the list is not of the
            form `train_00001.jpg 5`, names a class that is none of 1 to 7, or a picture is listed twice.
        ValueError: If `pictures` is neither.
    """
    check_fold(CORPUS.title, fold, 1)
    if pictures not in PICTURES:
        raise ValueError(f"Expected `pictures` to be one of {', '.join(PICTURES)}, got {pictures!r}.")
    basic = next((folder for folder in (root / "basic", root) if (folder / LABEL_FILE).is_file()), None)
    divided = next((folder for folder in (root / "DATASET", root) if all(map(Path.is_dir, _parts(folder)))), None)
    if basic is not None:
        listed = _read_release(basic, pictures)
    elif divided is not None and pictures == "aligned":
        listed = _read_folders(divided)
    else:
        raise CorpusError(
            f"Expected the list {LABEL_FILE.as_posix()} in {root / 'basic'} or {root}, or aligned pictures in folders "
            f"train/1 to test/7 in {root / 'DATASET'} or {root}, found none. Pass the folder "
            "of RAF-DB that holds `basic`."
        )
    parts: dict[str, list[Clip]] = {"train": [], "test": []}
    seen: set[str] = set()
    for part, clip, place in listed:
        if clip.name in seen:
            raise CorpusError(f"Expected every picture once, got {clip.name} again ({place}). Restore the release.")
        seen.add(clip.name)
        parts[part].append(clip)
    return Split(CORPUS.name, None, SEVEN_EMOTIONS, tuple(parts["train"]), tuple(parts["test"]))


def _parts(folder: Path) -> tuple[Path, Path]:
    return folder / "train", folder / "test"


def _read_release(basic: Path, pictures: str) -> Iterator[tuple[str, Clip, str]]:
    """Yield part, picture and place of each line of the list."""
    folder = basic / "Image" / pictures
    if not folder.is_dir():
        there = [name for name in PICTURES if (basic / "Image" / name).is_dir()]
        hint = f" {there[0]} is there: read it as the corpus raf_db_{there[0]}." if there == ["original"] else ""
        raise CorpusError(f"Expected pictures in {folder}, found no such folder. Unpack {pictures}.zip there.{hint}")
    lines = (basic / LABEL_FILE).read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{LABEL_FILE.name}, line {number}"
            name, part, label = _read_line(line, place)
            yield part, Clip(name, folder / f"{Path(name).stem}{PICTURES[pictures]}", label), place


def _read_folders(root: Path) -> Iterator[tuple[str, Clip, str]]:
    """Yield part, picture and place of each file in `<part>/<class>`, named as the list of the release names it."""
    for part in _parts(root):
        strangers = sorted(path.name for path in part.iterdir() if path.is_dir() and path.name not in LABELS)
        if strangers:
            raise CorpusError(
                f"Expected the folders {', '.join(LABELS)} of the classes of RAF-DB in {part}, got {strangers[0]}. "
                "Move it away."
            )
        for code, label in LABELS.items():
            paths = sorted((part / code).iterdir()) if (part / code).is_dir() else []
            for path in filter(is_picture, paths):
                name = f"{path.stem.removesuffix('_aligned')}{path.suffix}"
                yield part.name, Clip(name, path, label), str(path)


def _read_line(line: str, place: str) -> tuple[str, str, Emotion]:
    fields = line.split()
    part = fields[0].split("_")[0]
    if len(fields) != 2 or part not in ("train", "test") or not fields[0].endswith(".jpg"):
        raise CorpusError(
            f"Expected a line such as 'train_00001.jpg 5', got {line!r} ({place}). Restore the list of the release."
        )
    name, code = fields
    if code not in LABELS:
        known = ", ".join(f"{known} {emotion}" for known, emotion in LABELS.items())
        raise CorpusError(f"Expected a class of RAF-DB, got {code} ({place}). Known: {known}.")
    return name, part, LABELS[code]


EXPECTED = {
    "1": {"train": 12271, "test": 3068},
    "classes": {
        "happiness": 5957,
        "sadness": 2460,
        "neutral": 3204,
        "anger": 867,
        "surprise": 1619,
        "disgust": 877,
        "fear": 355,
    },
}
SOURCE = (
    "Layout as `train/<class>`: the data set `raf-db-dataset` on Kaggle. "
    "Li, Deng and Du 2017, Reliable crowdsourcing and deep locality-preserving learning for expression recognition in "
    "the wild (CVPR): 12,271 and 3,068 pictures, labels 1 to 7 as its readme numbers them."
)

ORIGINAL = Corpus(
    name="raf_db_original",
    title="RAF-DB, pictures as found",
    load=partial(load, pictures="original"),
    num_folds=1,
    expected=EXPECTED,
    source=SOURCE,
)
CORPUS = Corpus(name="raf_db", title="RAF-DB", load=load, num_folds=1, expected=EXPECTED, source=SOURCE)
