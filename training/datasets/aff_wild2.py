"""Aff-Wild2 with the expression labels of the ABAW challenges (Kollias and Zafeiriou 2019): a label for each frame."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.media import frame_paths

LABEL_NAMES = (
    Emotion.NEUTRAL,
    Emotion.ANGER,
    Emotion.DISGUST,
    Emotion.FEAR,
    Emotion.HAPPINESS,
    Emotion.SADNESS,
    Emotion.SURPRISE,
    Emotion.OTHER,
)
"""In the order of the first line of every annotation file."""

UNLABELLED = "-1"
CHALLENGE_FOLDERS = ("EXPR_Classification_Challenge", "EXPR_Recognition_Challenge")
TRAIN_FOLDERS = ("Train_Set", "Training_Set")
TEST_FOLDERS = ("Validation_Set",)
IMAGE_FOLDERS = ("cropped_aligned", "cropped_aligned_new_50_vids")


@dataclass(frozen=True)
class _Video:
    name: str
    labels: tuple[Emotion | None, ...]
    folder: Path | None
    frame_numbers: tuple[int, ...]


def load(root: Path, fold: int | None = None, *, first_frame: int | None = None) -> Split:
    """Read the training set, and the validation set to test on: the challenge's own test set has no public labels.

    Each video is a clip with a label for every picture in its folder. Videos of two people appear twice, with
    `_left` and `_right` behind the name; `Clip.person` is the name without them, so that one video's frames stay
    together.

    Args:
        root: Folder with the annotations and the cropped, aligned faces, at most two folders down.
        fold: There is one division only.
        first_frame: Number of the picture that belongs to the first label, 0 or 1: releases differ. None looks at
            the pictures, and raises an error where they do not show it.

    Raises:
        CorpusError: If annotations or pictures are missing, an annotation is malformed, or the pictures do not
            show how they are numbered.
        ValueError: If `first_frame` is neither 0 nor 1.
    """
    check_fold(CORPUS.title, fold, 1)
    if first_frame not in (None, 0, 1):
        raise ValueError(f"Expected `first_frame` to be 0, 1 or None, got {first_frame!r}.")
    if not root.is_dir():
        raise CorpusError(f"Expected the folder of Aff-Wild2 at {root}, found none.")
    challenge = _challenge_folder(root)
    image_folders = [folder for name in IMAGE_FOLDERS for folder in _below(root, name)]
    if not image_folders:
        raise CorpusError(
            f"Expected faces in a folder {' or '.join(IMAGE_FOLDERS)} in {root} or at most two folders down, found "
            "none. Unpack the cropped and aligned images of the release there."
        )
    train = _read_part(challenge, TRAIN_FOLDERS, image_folders)
    test = _read_part(challenge, TEST_FOLDERS, image_folders)
    twice = sorted({video.name for video in train} & {video.name for video in test})
    if twice:
        raise CorpusError(
            f"Expected every video in one set, but {', '.join(twice)} have annotations in both. Restore the release."
        )
    if all(video.folder is None for video in [*train, *test]):
        raise CorpusError(
            f"Expected a folder such as {train[0].name} in {' or '.join(map(str, image_folders))}, found none of "
            f"{len(train) + len(test)}. Unpack the cropped and aligned images of the release there."
        )
    first = _first_frame([*train, *test]) if first_frame is None else first_frame
    left_out: Counter[str] = Counter()
    clips = [tuple(_clip(video, first, image_folders[0], left_out) for video in part) for part in (train, test)]
    return Split(CORPUS.name, None, LABEL_NAMES, *clips, left_out=dict(+left_out))


def _below(root: Path, name: str) -> list[Path]:
    return sorted(path for depth in ("", "*/", "*/*/") for path in root.glob(depth + name) if path.is_dir())


def _challenge_folder(root: Path) -> Path:
    found = [folder for name in CHALLENGE_FOLDERS for folder in _below(root, name)]
    if root.name in CHALLENGE_FOLDERS:
        raise CorpusError(f"Expected the folder that holds annotations and faces, got {root}. Pass the one above.")
    if not found:
        raise CorpusError(
            f"Expected a folder {' or '.join(CHALLENGE_FOLDERS)} in {root} or at most two folders down, such as "
            "Third_ABAW_Annotations/EXPR_Classification_Challenge, found none. Unpack the annotations there."
        )
    if len(found) > 1:
        raise CorpusError(
            f"Expected one folder of annotations, found {', '.join(map(str, found))}. Keep one year's under {root}."
        )
    return found[0]


def _read_part(challenge: Path, names: tuple[str, ...], image_folders: list[Path]) -> list[_Video]:
    files = [path for name in names for path in (challenge / name).glob("*.txt") if path.name[0] != "."]
    if not files:
        raise CorpusError(
            f"Expected annotations such as {names[0]}/<video>.txt in {challenge}, found none. "
            f"Unpack the annotations of the release; {' or '.join(names)} is the name of the folder."
        )
    return [_read_video(path, image_folders) for path in sorted(files)]


def _read_video(path: Path, image_folders: list[Path]) -> _Video:
    place = f"{path.parent.name}/{path.name}"
    header, *lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines() or [""]
    if tuple(name.strip().lower() for name in header.split(",")) != tuple(map(str, LABEL_NAMES)):
        raise CorpusError(
            f"Expected {','.join(LABEL_NAMES).title()} in the first line, got {header[:80]!r} "
            f"({place}, line 1). These are the labels since the third ABAW challenge; earlier ones had no class other."
        )
    codes: dict[str, Emotion | None] = {str(code): label for code, label in enumerate(LABEL_NAMES)}
    codes[UNLABELLED] = None
    labels = []
    for number, line in enumerate(lines, start=2):
        if line.strip() not in codes:
            raise CorpusError(
                f"Expected one label from -1 to {len(LABEL_NAMES) - 1}, got {line!r} ({place}, line {number}). "
                "Restore the annotation of the release."
            )
        labels.append(codes[line.strip()])
    folders = [folder / path.stem for folder in image_folders if (folder / path.stem).is_dir()]
    if len(folders) > 1:
        raise CorpusError(f"Expected one folder of faces for {path.stem}, found {', '.join(map(str, folders))}.")
    folder = folders[0] if folders and any(folders[0].iterdir()) else None
    return _Video(path.stem, tuple(labels), folder, _frame_numbers(folder) if folder else ())


def _frame_numbers(folder: Path) -> tuple[int, ...]:
    frames = frame_paths(folder)
    odd = [frame for frame in frames if not frame.stem.isdecimal()]
    if odd:
        raise CorpusError(
            f"Expected frames named by number such as 00001.jpg, got {odd[0]}. Take it out of the folder."
        )
    return tuple(int(frame.stem) for frame in frames)


def _first_frame(videos: list[_Video]) -> int:
    """Find the number of the first frame from the pictures that are there.

    A picture 0 means that numbers start from 0. If they start from 1, there is no picture 0 anywhere, and some video
    has a picture whose number is the number of labels, which would be past the end with numbers from 0.
    """
    with_zero = [video.name for video in videos if 0 in video.frame_numbers]
    past_the_end = [
        video.name for video in videos if len(video.labels) in video.frame_numbers and video.name not in with_zero
    ]
    whole_from_one = [
        video.name for video in videos if video.frame_numbers and video.frame_numbers == _count_from_one(video)
    ]
    if with_zero and not whole_from_one:
        return 0
    if past_the_end and not with_zero:
        return 1
    if with_zero:
        why = (
            f"{len(with_zero)} videos, such as {with_zero[0]}, have a picture 0, yet {len(whole_from_one)}, such as "
            f"{whole_from_one[0]}, have exactly one for each number from 1 to that of their labels"
        )
    else:
        why = "no video has a picture 0, and none one with the number of its labels"
    raise CorpusError(
        f"Expected pictures that tell whether frames are numbered from 0 or from 1, but {why}. Look at the release "
        f"and choose: the corpus {FROM_0.name} or {FROM_1.name}, or first_frame=0 or 1."
    )


def _count_from_one(video: _Video) -> tuple[int, ...]:
    return tuple(range(1, len(video.labels) + 1))


def _clip(video: _Video, first: int, image_folder: Path, left_out: Counter[str]) -> Clip:
    places = [number - first for number in video.frame_numbers]
    labels = tuple(video.labels[place] if 0 <= place < len(video.labels) else None for place in places)
    present = set(places)
    left_out["frame without a label (-1)"] += video.labels.count(None)
    left_out["frame without a picture"] += sum(
        label is not None and place not in present for place, label in enumerate(video.labels)
    )
    left_out["picture past the labels"] += sum(not 0 <= place < len(video.labels) for place in places)
    left_out["video without a picture"] += video.folder is None
    person = video.name.removesuffix("_left").removesuffix("_right")
    source = video.folder or image_folder / video.name
    return Clip(video.name, source, None, frame_labels=labels, person=person)


EXPECTED = {"1": {"train": 248, "test": 70}}
SOURCE = (
    "Kollias 2022, ABAW: valence-arousal estimation, expression recognition, action unit detection and multi-task "
    "learning challenges (CVPRW; numbers of videos). BR-IDL/PaddleViT facial_expression/datasets.py (layout, header, "
    "classes, frames from 1); youqingxiaozhua/ABAW3 mmcls/datasets/affwild.py (frames from 0, missing ones dropped)."
)

FROM_0 = Corpus(
    name="aff_wild2_from_0",
    title="Aff-Wild2 (EXPR), frames numbered from 0",
    load=partial(load, first_frame=0),
    num_folds=1,
    expected=EXPECTED,
    source=SOURCE,
)
FROM_1 = Corpus(
    name="aff_wild2_from_1",
    title="Aff-Wild2 (EXPR), frames numbered from 1",
    load=partial(load, first_frame=1),
    num_folds=1,
    expected=EXPECTED,
    source=SOURCE,
)
CORPUS = Corpus(name="aff_wild2", title="Aff-Wild2 (EXPR)", load=load, num_folds=1, expected=EXPECTED, source=SOURCE)
