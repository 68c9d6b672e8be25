"""RAVDESS: 24 actors say two sentences in eight emotions (Livingstone and Russo 2018), as videos."""

import re
from collections import Counter
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold, deal_people, divide_by_person
from training.datasets.media import is_video, require_contents

NUM_FOLDS = 5
NUM_ACTORS = 24
FULL, VIDEO_ONLY, AUDIO_ONLY = "01", "02", "03"
SPEECH, SONG = "01", "02"
CALM = "02"
EMOTIONS: dict[str, Emotion] = {
    "01": Emotion.NEUTRAL,
    "03": Emotion.HAPPINESS,
    "04": Emotion.SADNESS,
    "05": Emotion.ANGER,
    "06": Emotion.FEAR,
    "07": Emotion.DISGUST,
    "08": Emotion.SURPRISE,
}
"""Third field of a name. 02 is calm, a second baseline beside neutral that no other dataset has: it is left out."""

NAME = re.compile(r"(0[1-3])-(0[12])-(\d\d)-(0[12])-(0[12])-(0[12])-(\d\d)")
"""Modality, vocal channel, emotion, intensity, statement, repetition, actor."""

FOLDS: dict[str, int] = {
    **deal_people([f"{actor:02d}" for actor in range(1, NUM_ACTORS, 2)], NUM_FOLDS, first_fold=1),
    **deal_people([f"{actor:02d}" for actor in range(2, NUM_ACTORS + 1, 2)], NUM_FOLDS, first_fold=4),
}
"""Fold of each actor: the authors made none. Men, who have odd numbers, are distributed first, then women."""


def load(root: Path, fold: int | None = None, *, with_songs: bool = False) -> Split:
    """Read one of five divisions by actor, with as many men and women in each fold as can be.

    A recording that is there both with sound and without is read once, with sound. Without `with_songs` only speech is
    read, as songs have neither disgust nor surprise.

    Raises:
        CorpusError: If there is no video of RAVDESS, one is not named as the release names it, or there is no such
            fold.
    """
    fold = check_fold(CORPUS.title, fold, NUM_FOLDS)
    videos = sorted(path for path in root.rglob("*.*") if is_video(path)) if root.is_dir() else []
    if not videos:
        raise CorpusError(
            f"Expected videos such as Actor_01/01-01-03-01-01-01-01.mp4 under {root}, found none. "
            "Pass the folder in which Video_Speech_Actor_01.zip and the others were unpacked."
        )
    require_contents(videos)
    left_out: Counter[str] = Counter()
    recordings: dict[tuple[str, ...], dict[str, Path]] = {}
    for path in videos:
        modality, *fields = _fields(path)
        if modality == AUDIO_ONLY:
            left_out["audio only"] += 1
        elif fields[0] == SONG and not with_songs:
            left_out["song"] += 1
        elif fields[1] == CALM:
            left_out["calm, which is no class here"] += 1
        elif modality in recordings.setdefault(tuple(fields), {}):
            left_out["second copy of a file"] += 1
        else:
            recordings[tuple(fields)][modality] = path
    clips = []
    for fields, versions in sorted(recordings.items()):
        left_out["same recording without sound"] += len(versions) - 1
        path = versions.get(FULL) or versions[VIDEO_ONLY]
        scene = "song" if fields[0] == SONG else "speech"
        clips.append(Clip(path.stem, path, EMOTIONS[fields[1]], person=fields[-1], scene=scene))
    train, test = divide_by_person(clips, FOLDS, fold)
    return Split(CORPUS.name, fold, SEVEN_EMOTIONS, train, test, dict(+left_out))


def _fields(path: Path) -> tuple[str, ...]:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise CorpusError(
            "Expected seven numbers of two digits such as 01-01-03-01-01-01-01 (modality, vocal channel, emotion, "
            f"intensity, statement, repetition, actor), got {path}. Rename it or take it out of the folder."
        )
    if match[3] not in EMOTIONS and match[3] != CALM:
        raise CorpusError(
            f"Expected an emotion of RAVDESS, 01 to 08, as third number, got {match[3]} in {path}. "
            f"Known: {', '.join(f'{code} {emotion}' for code, emotion in EMOTIONS.items())}, {CALM} calm."
        )
    if match[7] not in FOLDS:
        raise CorpusError(f"Expected an actor from 01 to {NUM_ACTORS} as last number, got {match[7]} in {path}.")
    return match.groups()


CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS",
    load=load,
    num_folds=NUM_FOLDS,
    expected={
        "1": {"train": 988, "test": 260},
        "2": {"train": 988, "test": 260},
        "3": {"train": 1040, "test": 208},
        "4": {"train": 988, "test": 260},
        "5": {"train": 988, "test": 260},
        "classes": {
            "happiness": 192,
            "sadness": 192,
            "neutral": 96,
            "anger": 192,
            "surprise": 192,
            "disgust": 192,
            "fear": 192,
        },
    },
    source=(
        "Livingstone and Russo 2018, PLoS ONE 13(5): e0196391, and its record zenodo.org/record/1188976 (file names; "
        "60 spoken and 44 sung trials an actor, no songs of actor 18). Without calm 52 spoken clips an actor. "
        "The folds are ours."
    ),
)
