"""MAFW (Liu et al. 2022): clips of films, series and short videos in five folds; by form, for research only."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dfer_hf.taxonomy import Emotion
from training.datasets.annotations import ListedClip, check_apart, find_lists, five_digits, read_list
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.labels import emotion_named
from training.datasets.media import find_media, five_digit_name

NUM_FOLDS = 5

ELEVEN_EMOTIONS = (
    Emotion.ANGER,
    Emotion.DISGUST,
    Emotion.FEAR,
    Emotion.HAPPINESS,
    Emotion.NEUTRAL,
    Emotion.SADNESS,
    Emotion.SURPRISE,
    Emotion.CONTEMPT,
    Emotion.ANXIETY,
    Emotion.HELPLESSNESS,
    Emotion.DISAPPOINTMENT,
)
"""In the order of the paper."""

FRAMES = (
    "data/faces",
    "faces",
    "frames_crop_align_224",
    "data/frames_crop_align_224",
    "data/frames",
    "frames",
    "data/clips",
    "clips",
    "data/videos",
    "videos",
)
"""Folders of `NNNNN` or `NNNNN.mp4`, faces first: whole frames are of little use before the face is found in them."""

COMPOUND_NAMES = (
    ("anger", "disgust"), ("anger", "sadness"), ("anger", "surprise"), ("anger", "anxiety"), ("anger", "helplessness"),
    ("disgust", "sadness"), ("disgust", "surprise"), ("disgust", "contempt"), ("disgust", "anxiety"),
    ("disgust", "helplessness"), ("disgust", "disappointment"), ("fear", "sadness"), ("fear", "surprise"),
    ("fear", "anxiety"), ("happiness", "surprise"), ("happiness", "contempt"), ("sadness", "surprise"),
    ("sadness", "anxiety"), ("sadness", "helplessness"), ("sadness", "disappointment"), ("surprise", "anxiety"),
    ("anxiety", "helplessness"), ("helplessness", "disappointment"), ("anger", "disgust", "contempt"),
    ("anger", "disgust", "anxiety"), ("disgust", "anxiety", "helplessness"),
    ("disgust", "helplessness", "disappointment"), ("fear", "sadness", "anxiety"), ("fear", "surprise", "anxiety"),
    ("sadness", "anxiety", "helplessness"), ("sadness", "helplessness", "disappointment"),
    ("anxiety", "helplessness", "disappointment"),
)  # fmt: skip
COMPOUND_CLASSES = (*map(str, ELEVEN_EMOTIONS), *map("_".join, COMPOUND_NAMES))
"""The eleven emotions, then the 32 compounds of the release."""

TOPS = ("Train & Test Set/", "split/", "anno/", "")
"""Where the lists are: as the authors pack them, as MAE-DFER and S2D have them, or in the folder itself."""

LEFT_OUT = "compound label"


def load(root: Path, fold: int | None, *, compound: bool = False) -> Split:
    """Read one fold of the clips that show one emotion, or of the set with compound emotions.

    Annotations are `single/no_caption/set_<fold>/{train,test}.txt` in one of `TOPS`, or else the same in
    `with_caption`, which lacks the neutral clips; those of the compound set are in `compound` instead of `single`. A
    clip is named by its number, so that it has the same name whether it is a video or a folder.

    Args:
        root: Folder of the release.
        fold: From 1 to 5.
        compound: Whether to read the set of 43 classes. Otherwise clips of several emotions are left out and counted.

    Raises:
        CorpusError: If the folder is not that of MAFW, the fold is none of the five, a class is unknown, or a line
            cannot be read or holds a number, which means three things in the lists in circulation.
    """
    check_fold("MAFW", fold, NUM_FOLDS)
    corpus, classes = (COMPOUND, COMPOUND_CLASSES) if compound else (CORPUS, ELEVEN_EMOTIONS)
    train_file, test_file = find_lists(corpus.title, root, _layouts(fold, "compound" if compound else "single"))
    media = find_media(root, FRAMES, name_clip=five_digit_name)
    left_out = 0

    def clips(listed: Sequence[ListedClip]) -> tuple[Clip, ...]:
        nonlocal left_out
        found = []
        for one in listed:
            emotions, name = _emotions(one), five_digits(one)
            if not compound and len(emotions) > 1:
                left_out += 1
                continue
            label = "_".join(map(str, emotions)) if len(emotions) > 1 else emotions[0]
            if label not in classes:
                raise one.error(f"one of the {len(classes)} classes", f"the unknown class {one.label!r}")
            found.append(Clip(name, media.source(name), label))
        return tuple(found)

    train, test = clips(read_list(train_file)), clips(read_list(test_file))
    check_apart(f"MAFW, fold {fold},", train, test)
    return Split(corpus.name, fold, classes, train, test, {LEFT_OUT: left_out} if left_out else {})


def _layouts(fold: int | None, kind: str) -> list[tuple[str, str]]:
    folders = [f"{top}{kind}/{caption}/set_{fold}" for caption in ("no_caption", "with_caption") for top in TOPS]
    layouts = [(f"{folder}/train.txt", f"{folder}/test.txt") for folder in folders]
    if kind == "single":
        layouts.append((f"annotation/MAFW_set_{fold}_train.txt", f"annotation/MAFW_set_{fold}_test.txt"))
    return layouts


def _emotions(listed: ListedClip) -> list[Emotion]:
    """Return the emotions that a clip shows, in the order of the paper."""
    if listed.label.isdigit():
        raise CorpusError(
            f"Expected the name of a class in {listed.place}, got the number {listed.label}, which means three "
            "classes in the lists in circulation. Use Train & Test Set/single/no_caption of the release: it holds "
            "names."
        )
    emotions = [emotion_named(word, listed.place, ELEVEN_EMOTIONS) for word in listed.label.split("_")]
    return sorted(emotions, key=ELEVEN_EMOTIONS.index)


SOURCE = (
    "Layout of MAE-DFER, and order of the classes: sunlicai/MAE-DFER@80b651d preprocess/mafw.py. Counts of folds: "
    "MSA-LMC/S2D@e1b5e5d data/MAFW/anno; DFER-CLIP's lists hold a clip less in each part of fold 1. Counts of "
    "classes and of the compound set: single-set.xlsx and Train & Test Set of the release."
)

COMPOUND = Corpus(
    name="mafw_compound",
    title="MAFW with compound emotions",
    load=partial(load, compound=True),
    num_folds=NUM_FOLDS,
    expected={
        "1": {"train": 7178, "test": 1818},
        "2": {"train": 7187, "test": 1809},
        "3": {"train": 7198, "test": 1798},
        "4": {"train": 7208, "test": 1788},
        "5": {"train": 7213, "test": 1783},
    },
    source=SOURCE,
)
CORPUS = Corpus(
    name="mafw",
    title="MAFW",
    load=load,
    num_folds=NUM_FOLDS,
    expected={
        "1": {"train": 7333, "test": 1839},
        "2": {"train": 7335, "test": 1837},
        "3": {"train": 7339, "test": 1833},
        "4": {"train": 7340, "test": 1832},
        "5": {"train": 7341, "test": 1831},
        "classes": {
            "anger": 1390,
            "disgust": 639,
            "fear": 625,
            "happiness": 1242,
            "neutral": 1138,
            "sadness": 1470,
            "surprise": 1072,
            "contempt": 236,
            "anxiety": 916,
            "helplessness": 262,
            "disappointment": 182,
        },
    },
    source=SOURCE,
)
