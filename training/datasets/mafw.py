"""MAFW (Liu et al. 2022): clips of films, series and short videos in five folds; asked for by form, for research only."""

from collections.abc import Sequence
from pathlib import Path

from dfer_hf.taxonomy import Emotion
from training.datasets.annotations import (
    ListedClip,
    check_apart,
    check_fold,
    emotion_named,
    find_lists,
    five_digits,
    read_list,
)
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
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
"""Folders of `NNNNN` or `NNNNN.mp4`, faces first: whole frames teach little before the face is found in them."""

COMPOUND = "compound label"


def load_mafw(root: Path, fold: int | None) -> Split:
    """Read one fold of the clips that show one emotion.

    Annotations are `single/no_caption/set_<fold>/{train,test}.txt` in `split` (as released) or `anno` (as S2D has it),
    or the same in `with_caption`. Clips of several emotions are left out and counted. A clip is named by its number,
    so that it has the same name whether it is a video or a folder.

    Raises:
        CorpusError: If the folder is not that of MAFW, the fold is none of the five, a class is unknown, or a line
            cannot be read or holds a number, which means three things in the lists in circulation.
    """
    check_fold("MAFW", fold, NUM_FOLDS)
    train_file, test_file = find_lists("MAFW", root, _layouts(fold))
    train, test = read_list(train_file), read_list(test_file)
    media = find_media(root, FRAMES, name_clip=five_digit_name)

    def clips(listed: Sequence[ListedClip]) -> tuple[Clip, ...]:
        labels = [_label(one) for one in listed]
        names = [five_digits(one) for one in listed]
        return tuple(
            Clip(name, media.source(name), label)
            for name, label in zip(names, labels, strict=True)
            if label is not None
        )

    num_compound = sum(_label(one) is None for one in (*train, *test))
    left_out = {COMPOUND: num_compound} if num_compound else {}
    split = Split("mafw", fold, ELEVEN_EMOTIONS, clips(train), clips(test), left_out)
    check_apart(f"MAFW, fold {fold},", split.train, split.test)
    return split


def _layouts(fold: int | None) -> list[tuple[str, str]]:
    folders = [
        f"{top}single/{caption}/set_{fold}"
        for caption in ("no_caption", "with_caption")
        for top in ("split/", "anno/", "")
    ]
    layouts = [(f"{folder}/train.txt", f"{folder}/test.txt") for folder in folders]
    return [*layouts, (f"annotation/MAFW_set_{fold}_train.txt", f"annotation/MAFW_set_{fold}_test.txt")]


def _label(listed: ListedClip) -> Emotion | None:
    """Class of a clip, or None where it shows several."""
    if listed.label.isdigit():
        raise CorpusError(
            f"Expected the name of a class in line {listed.line} of {listed.file}, got the number {listed.label}, which "
            "means three classes in the lists in circulation. Use split/single/no_caption of the release, which holds "
            "names."
        )
    emotions = [emotion_named(listed, word, ELEVEN_EMOTIONS) for word in listed.label.split("_")]
    return emotions[0] if len(emotions) == 1 else None


CORPUS = Corpus(
    name="mafw",
    title="MAFW",
    load=load_mafw,
    num_folds=NUM_FOLDS,
    expected={
        "1": {"train": 7333, "test": 1839},
        "2": {"train": 7335, "test": 1837},
        "3": {"train": 7339, "test": 1833},
        "4": {"train": 7340, "test": 1832},
        "5": {"train": 7341, "test": 1831},
    },
    source=(
        "Layout and order: sunlicai/MAE-DFER@80b651d preprocess/mafw.py. Counts: MSA-LMC/S2D@e1b5e5d "
        "data/MAFW/anno; DFER-CLIP's lists hold a clip less in each part of fold 1."
    ),
)
