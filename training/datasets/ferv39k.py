"""FERV39k (Wang et al. 2022): clips of 22 scenes in one division; asked for by mail, for research only."""

from collections.abc import Collection, Sequence
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.annotations import ListedClip, check_apart, emotions_by_folder, find_lists, read_list
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.media import find_media, name_in_class_folder

ALPHABETICAL = (
    Emotion.ANGER,
    Emotion.DISGUST,
    Emotion.FEAR,
    Emotion.HAPPINESS,
    Emotion.NEUTRAL,
    Emotion.SADNESS,
    Emotion.SURPRISE,
)
"""In the order of the folders, Angry to Surprise, in which S2D and others number the classes."""

ORDERS = {"the order of DFEW": SEVEN_EMOTIONS, "alphabetical order": ALPHABETICAL}
"""Orders of the lists that hold numbers. The release holds names."""

LISTS = (
    ("4_setups/All_scenes/train_All.csv", "4_setups/All_scenes/test_All.csv"),
    ("All_scenes/train_All.csv", "All_scenes/test_All.csv"),
    ("Annotation/train.csv", "Annotation/test.csv"),
    ("annotation/FERV39K_train.txt", "annotation/FERV39K_test.txt"),
    ("all_scenes/train.csv", "all_scenes/test.csv"),
)
FRAMES = ("2_ClipsforFaceCrop", "2_ClipsforFaceCrop/2_ClipsforFaceCrop", "FERV39K_Face", "")


def load(root: Path, fold: int | None = None, *, scenes: Collection[str] | None = None) -> Split:
    """Read the corpus, or some of its scenes.

    The class is the folder in a clip's path, `<scene>/<class>/<clip>`; the label of a list has to agree with it.

    Args:
        scenes: Scenes to read, such as `Action`; all where none are given.

    Raises:
        CorpusError: If the folder is not that of FERV39k, a line cannot be read, a label contradicts its folder, or
            there is no such scene.
    """
    check_fold("FERV39k", fold, 1)
    train_file, test_file = find_lists("FERV39k", root, LISTS)
    media = find_media(root, FRAMES, depth=3, name_clip=name_in_class_folder)

    def clips(listed: Sequence[ListedClip]) -> tuple[Clip, ...]:
        labels = emotions_by_folder(listed, ORDERS)
        names = [_name(one) for one in listed]
        return tuple(
            Clip(name, media.source(name), label, scene=name.split("/")[0])
            for name, label in zip(names, labels, strict=True)
        )

    train, test = clips(read_list(train_file)), clips(read_list(test_file))
    check_apart("FERV39k", train, test)
    if scenes is not None:
        _check_scenes(scenes, {clip.scene for clip in (*train, *test) if clip.scene})
        train = tuple(clip for clip in train if clip.scene in scenes)
        test = tuple(clip for clip in test if clip.scene in scenes)
    return Split("ferv39k", None, SEVEN_EMOTIONS, train, test)


def _name(listed: ListedClip) -> str:
    if len(listed.path.parts) < 3:
        raise listed.error("a path that ends in <scene>/<class>/<clip>", repr(listed.clip))
    return "/".join((*listed.path.parts[-3:-1], listed.path.stem))


def _check_scenes(scenes: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(scenes) - set(known))
    if isinstance(scenes, str) or unknown or not scenes:
        came = f"the unknown scene {unknown[0]!r}" if unknown and not isinstance(scenes, str) else repr(scenes)
        raise CorpusError(
            f"Expected a list of scenes of FERV39k, got {came}. Choose among {', '.join(sorted(known))}."
        )


CORPUS = Corpus(
    name="ferv39k",
    title="FERV39k",
    load=load,
    num_folds=1,
    expected={"1": {"train": 31088, "test": 7847}},
    source=(
        "Layout: sunlicai/MAE-DFER@80b651d preprocess/ferv39k.py. Orders of numbers: zengqunzhao/"
        "Former-DFER@1b5ad6f annotation/, MSA-LMC/S2D@e1b5e5d data/FERV39K/Annotation. Counts: the same lists."
    ),
)
