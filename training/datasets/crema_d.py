"""CREMA-D: 91 actors say twelve sentences in six emotions (Cao et al. 2014), as videos."""

import re
from collections import Counter
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold, deal_people, divide_by_person
from training.datasets.media import is_video, require_contents

NUM_FOLDS = 5
VIDEO_FOLDER = "VideoFlash"
EMOTIONS: dict[str, Emotion] = {
    "ANG": Emotion.ANGER,
    "DIS": Emotion.DISGUST,
    "FEA": Emotion.FEAR,
    "HAP": Emotion.HAPPINESS,
    "NEU": Emotion.NEUTRAL,
    "SAD": Emotion.SADNESS,
}
"""Emotions that the actors were asked to show; people who only see the clip agree in two thirds of them."""

SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX?)")
"""Actor, sentence, emotion, level: low, middle, high or unspecified."""

WOMEN = frozenset(map(str, (
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028,
    1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063,
    1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
)))  # fmt: skip
"""Sex of the actors as VideoDemographics.csv of the release has it."""

ACTORS = tuple(str(actor) for actor in range(1001, 1092))
FOLDS: dict[str, int] = {
    **deal_people([actor for actor in ACTORS if actor not in WOMEN], NUM_FOLDS, first_fold=1),
    **deal_people([actor for actor in ACTORS if actor in WOMEN], NUM_FOLDS, first_fold=3),
}
"""Fold of each actor: the authors made none."""


def load(root: Path, fold: int | None = None) -> Split:
    """Read one of five divisions by actor, with as many men and women in each fold as can be.

    Args:
        root: Folder of the release, with `VideoFlash`, or a folder of its videos, in whatever format.
        fold: From 1 to 5.

    Raises:
        CorpusError: If there is no video of CREMA-D, one is not named as the release names it, or there is no such
            fold.
    """
    fold = check_fold(CORPUS.title, fold, NUM_FOLDS)
    folder = root / VIDEO_FOLDER if (root / VIDEO_FOLDER).is_dir() else root
    videos = sorted(path for path in folder.iterdir() if is_video(path)) if folder.is_dir() else []
    if not videos:
        audio = " AudioWAV is there: that is the sound alone." if (root / "AudioWAV").is_dir() else ""
        raise CorpusError(
            f"Expected videos such as 1001_DFA_ANG_XX.flv in {root / VIDEO_FOLDER} or {root}, found none.{audio} "
            "Pass the folder of the release, with its large files fetched."
        )
    require_contents(videos)
    left_out: Counter[str] = Counter()
    clips: dict[str, Clip] = {}
    for path in videos:
        actor, emotion = _actor_and_emotion(path)
        if path.stem in clips:
            left_out["same recording in another format"] += 1
            continue
        clips[path.stem] = Clip(path.stem, path, emotion, person=actor)
    train, test = divide_by_person(list(clips.values()), FOLDS, fold)
    return Split(CORPUS.name, fold, LABEL_NAMES, train, test, dict(left_out))


def _actor_and_emotion(path: Path) -> tuple[str, Emotion]:
    match = NAME.fullmatch(path.stem)
    if match is None or match[2] not in SENTENCES:
        raise CorpusError(
            f"Expected actor, sentence, emotion and level such as 1001_DFA_ANG_XX, got {path}. "
            "Rename it or take it out of the folder."
        )
    if match[3] not in EMOTIONS:
        known = ", ".join(f"{code} {emotion}" for code, emotion in EMOTIONS.items())
        raise CorpusError(f"Expected an emotion of CREMA-D as third part, got {match[3]} in {path}. Known: {known}.")
    if match[1] not in FOLDS:
        raise CorpusError(f"Expected an actor from {ACTORS[0]} to {ACTORS[-1]}, got {match[1]} in {path}.")
    return match[1], EMOTIONS[match[3]]


LABEL_NAMES = tuple(emotion for emotion in SEVEN_EMOTIONS if emotion in EMOTIONS.values())

CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    load=load,
    num_folds=NUM_FOLDS,
    expected={
        "1": {"train": 5966, "test": 1476},
        "2": {"train": 5966, "test": 1476},
        "3": {"train": 5897, "test": 1545},
        "4": {"train": 5973, "test": 1469},
        "5": {"train": 5966, "test": 1476},
        "classes": {"happiness": 1271, "sadness": 1271, "neutral": 1087, "anger": 1271, "disgust": 1271, "fear": 1271},
    },
    source=(
        "Cao et al. 2014, IEEE Transactions on Affective Computing 5(4); CheyneyComputerScience/CREMA-D: README.md, "
        "VideoDemographics.csv, 7,442 names in SentenceFilenames.csv and as many files in VideoFlash. The folds are "
        "ours."
    ),
)
