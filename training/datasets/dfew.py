"""DFEW (Jiang et al. 2020): clips of films in five folds; asked for by form, for research only."""

from collections.abc import Sequence
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.annotations import ListedClip, check_apart, find_lists, five_digits, label_number, read_list
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.media import find_media, five_digit_name

NUM_FOLDS = 5

LABELS = {
    1: Emotion.HAPPINESS,
    2: Emotion.SADNESS,
    3: Emotion.NEUTRAL,
    4: Emotion.ANGER,
    5: Emotion.SURPRISE,
    6: Emotion.DISGUST,
    7: Emotion.FEAR,
}
"""As the release numbers them; lists of others count from 0 in the same order."""

FRAMES = (
    "Clip/clip_224x224",
    "Clip/clip_224x224/clip_224x224",
    "clip_224x224",
    "clip_224x224/clip_224x224",
    "Clip/jpg_256",
    "jpg_256",
    "DFEW_Face",
    "data",
    "Clip/clip_224x224_16f",
    "clip_224x224_16f",
    "Clip/original",
    "Clip",
    "videos",
)
"""Folders of `NNNNN` or `NNNNN.mp4`: faces cropped by the authors first, then those cut to 16 frames, then videos."""


def load(root: Path, fold: int | None) -> Split:
    """Read one fold.

    Annotations are the release's `EmoLabel_DataSplit/{train,test}(single-labeled)/set_<fold>.csv`, the older release's
    `label/`, S2D's csv files, or the lists of Former-DFER and of MAE-DFER; the first of these that is there counts.

    Raises:
        CorpusError: If the folder is not that of DFEW, the fold is none of the five, a line cannot be read, or it
            cannot be told whether labels count from 0 or from 1.
    """
    check_fold("DFEW", fold, NUM_FOLDS)
    train_file, test_file = find_lists("DFEW", root, _layouts(fold))
    train, test = read_list(train_file), read_list(test_file)
    first = _first_number([*train, *test])
    media = find_media(root, FRAMES, name_clip=five_digit_name)

    def clips(listed: Sequence[ListedClip]) -> tuple[Clip, ...]:
        names = [five_digits(one) for one in listed]
        labels = [LABELS[label_number(one) + 1 - first] for one in listed]
        return tuple(Clip(name, media.source(name), label) for name, label in zip(names, labels, strict=True))

    split = Split("dfew", fold, SEVEN_EMOTIONS, clips(train), clips(test))
    check_apart(f"DFEW, fold {fold},", split.train, split.test)
    return split


def _layouts(fold: int | None) -> list[tuple[str, str]]:
    single = "EmoLabel_DataSplit/{0}(single-labeled)"
    patterns = [
        (f"{single}/set_{fold}.csv", "train", "test"),
        (f"{single}/{{0}}_set_{fold}.csv", "train", "test"),
        (f"label/single_{{0}}set_{fold}.csv", "train", "test"),
        (f"annotation/DFEW_set_{fold}_{{0}}.txt", "train", "test"),
        (f"annotation/set_{fold}_{{0}}.txt", "train", "test"),
        (f"split0{fold}/{{0}}.csv", "train", "test"),
        (f"split0{fold}/{{0}}.csv", "train", "val"),
    ]
    return [(pattern.format(train), pattern.format(test)) for pattern, train, test in patterns]


def _first_number(listed: Sequence[ListedClip]) -> int:
    """Tell by the labels of a fold whether they are 1 to 7, as in the release, or 0 to 6."""
    numbers = {}
    for one in listed:
        number = label_number(one)
        if number > 7:
            raise one.error("a label from 1 to 7, or from 0 to 6", f"the unknown class {number}")
        numbers.setdefault(number, one)
    if (0 in numbers) == (7 in numbers):
        files = " and ".join(sorted({str(one.file) for one in listed}))
        came = "both 0 and 7" if 0 in numbers else "neither 0 nor 7"
        raise CorpusError(
            f"Expected labels from 1 to 7, as DFEW numbers them, or from 0 to 6, got {came} in {files}, so it cannot "
            "be told what they mean. Use the split files of the release."
        )
    return 0 if 0 in numbers else 1


CORPUS = Corpus(
    name="dfew",
    title="DFEW",
    load=load,
    num_folds=NUM_FOLDS,
    expected={
        "1": {"train": 9356, "test": 2341},
        "2": {"train": 9356, "test": 2341},
        "3": {"train": 9357, "test": 2340},
        "4": {"train": 9358, "test": 2339},
        "5": {"train": 9361, "test": 2336},
        "classes": {
            "happiness": 2445,
            "sadness": 1894,
            "neutral": 2669,
            "anger": 2173,
            "surprise": 1469,
            "disgust": 145,
            "fear": 902,
        },
    },
    source=(
        "Labels: jiangxingxun/DFEW@7c1ba78 README.md. Counts: the lists of zengqunzhao/Former-DFER@1b5ad6f "
        "annotation/, which hold 11,697 clips; some papers say 12,059."
    ),
)
