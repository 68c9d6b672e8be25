"""AFEW 7.0 (Dhall et al. 2012, 2017): clips of films to train and to validate on; by form, for research only."""

from collections.abc import Sequence
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.datasets.annotations import (
    ListedClip,
    check_apart,
    emotions_by_folder,
    find_lists,
    not_the_root,
    read_list,
)
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.ferv39k import ORDERS
from training.datasets.folds import check_fold
from training.datasets.labels import emotion_named
from training.datasets.media import find_media, list_clips, name_in_class_folder

LISTS = (
    ("annotation/AFEW_train.txt", "annotation/AFEW_validation.txt"),
    ("annotation/train.txt", "annotation/validation.txt"),
)
"""Lists of Former-DFER, which name the frames it made."""

FOLDERS = (
    ("AFEW_Face/train", "AFEW_Face/validation"),
    ("train", "validation"),
    ("Train_AFEW", "Val_AFEW"),
    ("train", "val"),
    ("Train", "Val"),
)
"""Frames of Former-DFER, then the release; each holds folders named by classes."""

NOT_CLASSES = ("AlignedFaces", "LBPTOP")
"""First letters of folders that the release has beside those of the classes."""


def load(root: Path, fold: int | None = None) -> Split:
    """Read training and validation; everybody tests on the latter, as the labels of the test set are not given out.

    The class of a clip is the name of its folder. A list of Former-DFER says which clips there are; without one, the
    folders do.

    Raises:
        CorpusError: If the folder is not that of AFEW, a part of it is missing, a folder is no class, or a line of a
            list contradicts its folder.
    """
    check_fold("AFEW", fold, 1)
    if any((root / name).is_file() for pair in LISTS for name in pair):
        train, test = _read_lists(root)
    else:
        train, test = _read_folders(root)
    check_apart("AFEW", train, test)
    return Split("afew", None, SEVEN_EMOTIONS, train, test)


def _read_lists(root: Path) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    train_file, test_file = find_lists("AFEW", root, LISTS)
    media = find_media(root, ("AFEW_Face", ""), depth=3, name_clip=name_in_class_folder)

    def clips(listed: Sequence[ListedClip]) -> tuple[Clip, ...]:
        labels = emotions_by_folder(listed, ORDERS)
        names = ["/".join(one.path.parts[-3:]) for one in listed]
        return tuple(Clip(name, media.source(name), label) for name, label in zip(names, labels, strict=True))

    return clips(read_list(train_file)), clips(read_list(test_file))


def _read_folders(root: Path) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    looked_for = [f"{train} with {test}" for train, test in FOLDERS]
    for train, test in FOLDERS:
        found = [name for name in (train, test) if (root / name).is_dir()]
        if len(found) == 2:
            return _read_part(root / train), _read_part(root / test)
    halves = [name for pair in FOLDERS for name in pair if (root / name).is_dir()]
    if halves:
        raise CorpusError(
            f"Expected training and validation of AFEW in {root}, found {halves[0]} alone. "
            f"Looked for: {'; '.join(looked_for)}. Unpack the other part beside it."
        )
    raise not_the_root("AFEW", root, looked_for)


def _read_part(folder: Path) -> tuple[Clip, ...]:
    clips = {}
    for name, path in list_clips(folder, depth=2):
        class_name = path.parent.name
        if class_name.startswith(NOT_CLASSES):
            continue
        label = emotion_named(class_name, str(folder), SEVEN_EMOTIONS)
        name = f"{folder.name}/{name}"
        if name in clips:
            raise CorpusError(
                f"Expected one source of the clip {name}, found {clips[name].source} and {path}. Move one away."
            )
        clips[name] = Clip(name, path, label)
    if not clips:
        raise CorpusError(
            f"Expected folders named by classes with clips in {folder}, found none. Unpack the release there."
        )
    return tuple(clips.values())


CORPUS = Corpus(
    name="afew",
    title="AFEW",
    load=load,
    num_folds=1,
    expected={"1": {"train": 773, "test": 383}},
    source=(
        "Layouts: zengqunzhao/Former-DFER@1b5ad6f annotation/AFEW_*.txt; HSE-asavchenko/"
        "face-emotion-recognition@d0ac879 src/AFEW_train.ipynb. Counts: the papers; Former-DFER's list of frames "
        "holds 381 clips to test on."
    ),
)
