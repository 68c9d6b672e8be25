import pytest

from dfer_hf.models.configuration_cfc_sp import CfcSpConfig
from dfer_hf.taxonomy import Emotion
from training.data.clip_dataset import list_samples
from training.datasets import aff_wild2
from training.datasets.aff_wild2 import CORPUS, FROM_0, FROM_1, load
from training.datasets.corpus import CorpusError
from training.datasets.media import frame_paths

HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
TRAIN = {"100-29-1080x1920": [0, 0, 4, 4, -1], "12-24-1920x1080_left": [6, 7, 5], "12-24-1920x1080_right": [1, 2]}
VALIDATION = {"video59": [3, 3, -1, 0]}


def write_annotation(folder, video, labels, *, header=HEADER, end="\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{video}.txt").write_bytes(end.join([header, *map(str, labels), ""]).encode())


def write_release(
    root,
    *,
    first=1,
    train=TRAIN,
    validation=VALIDATION,
    annotations="Third_ABAW_Annotations/EXPR_Classification_Challenge",
    train_set="Train_Set",
    images="cropped_aligned",
    missing=(),
    end="\n",
):
    """Write a miniature; `missing` names pictures without a detected face, such as `video59/00001`."""
    for part, videos in ((train_set, train), ("Validation_Set", validation)):
        for video, labels in videos.items():
            write_annotation(root / annotations / part, video, labels, end=end)
            (root / images / video).mkdir(parents=True, exist_ok=True)
            for number in range(first, first + len(labels)):
                if f"{video}/{number:05d}" not in missing:
                    (root / images / video / f"{number:05d}.jpg").touch()
    return root


def labels_by_frame(clip):
    return {path.name: label for path, label in zip(frame_paths(clip.source), clip.frame_labels, strict=True)}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("first", [0, 1])
def test_both_numberings_are_told_apart_by_the_pictures(tmp_path, first, end):
    split = CORPUS.load(write_release(tmp_path, first=first, end=end), None)
    assert [clip.name for clip in split.train] == list(TRAIN)
    assert labels_by_frame(split.train[0]) == {
        f"{first:05d}.jpg": Emotion.NEUTRAL,
        f"{first + 1:05d}.jpg": Emotion.NEUTRAL,
        f"{first + 2:05d}.jpg": Emotion.HAPPINESS,
        f"{first + 3:05d}.jpg": Emotion.HAPPINESS,
        f"{first + 4:05d}.jpg": None,
    }
    assert split.test[0].frame_labels == (Emotion.FEAR, Emotion.FEAR, None, Emotion.NEUTRAL)
    assert split.train[1].frame_labels == (Emotion.SURPRISE, Emotion.OTHER, Emotion.SADNESS)
    assert split.train[2].frame_labels == (Emotion.ANGER, Emotion.DISGUST)
    assert split.left_out == {"frame without a label (-1)": 2}
    assert all(clip.label is None for clip in (*split.train, *split.test))


@pytest.mark.parametrize(("first", "missing"), [(0, ["00001", "00004"]), (1, ["00001", "00003"])])
def test_labels_stay_with_their_frames_when_pictures_are_missing(tmp_path, first, missing):
    root = write_release(tmp_path, first=first, missing=[f"100-29-1080x1920/{number}" for number in missing])
    split = CORPUS.load(root, None)
    expected = {f"{first + place:05d}": label for place, label in enumerate([0, 0, 4, 4, -1])}
    names = {0: Emotion.NEUTRAL, 4: Emotion.HAPPINESS, -1: None}
    assert labels_by_frame(split.train[0]) == {
        f"{number}.jpg": names[label] for number, label in expected.items() if number not in missing
    }
    lost = sum(expected[number] != -1 for number in missing)
    assert split.left_out == {"frame without a label (-1)": 2, "frame without a picture": lost}


def test_numbering_is_told_although_first_and_last_pictures_are_missing_here_and_there(tmp_path):
    zero = write_release(tmp_path / "0", first=0, missing=["video59/00000", "100-29-1080x1920/00000"])
    assert CORPUS.load(zero, None).test[0].frame_labels == (Emotion.FEAR, None, Emotion.NEUTRAL)
    one = write_release(tmp_path / "1", first=1, missing=["video59/00004", "100-29-1080x1920/00001"])
    assert CORPUS.load(one, None).test[0].frame_labels == (Emotion.FEAR, Emotion.FEAR, None)


def untold(root):
    """Pictures 1 to 2 of three labels: either the first or the last is missing."""
    videos = {"a": [0, 1, 4]}, {"b": [2, 3, 5]}
    return write_release(root, train=videos[0], validation=videos[1], missing=["a/00003", "b/00003"])


def test_where_pictures_do_not_tell_a_choice_is_asked_for(tmp_path):
    root = untold(tmp_path)
    with pytest.raises(CorpusError, match=r"no video has a picture 0.*aff_wild2_from_0 or aff_wild2_from_1"):
        CORPUS.load(root, None)
    assert FROM_0.load(root, None).train[0].frame_labels == (Emotion.ANGER, Emotion.HAPPINESS)
    assert FROM_1.load(root, None).train[0].frame_labels == (Emotion.NEUTRAL, Emotion.ANGER)
    assert load(root, first_frame=1).train[0].frame_labels == (Emotion.NEUTRAL, Emotion.ANGER)
    with pytest.raises(ValueError, match="`first_frame` to be 0, 1 or None, got 2"):
        load(root, first_frame=2)


def test_pictures_that_contradict_each_other_are_refused(tmp_path):
    root = write_release(tmp_path, first=1)
    (root / "cropped_aligned/video59/00000.jpg").touch()
    with pytest.raises(CorpusError, match=r"1 videos, such as video59, have a picture 0, yet 3, such as 100-29"):
        CORPUS.load(root, None)
    clip = FROM_1.load(root, None).test[0]
    assert clip.frame_labels == (None, Emotion.FEAR, Emotion.FEAR, None, Emotion.NEUTRAL)


def test_pictures_past_the_labels_have_none(tmp_path):
    root = write_release(tmp_path, first=1)
    (root / "cropped_aligned/video59/00005.jpg").touch()
    split = CORPUS.load(root, None)
    assert split.test[0].frame_labels == (Emotion.FEAR, Emotion.FEAR, None, Emotion.NEUTRAL, None)
    assert split.left_out["picture past the labels"] == 1


@pytest.mark.parametrize("annotations", ["EXPR_Recognition_Challenge", "a/b/EXPR_Classification_Challenge"])
@pytest.mark.parametrize("train_set", ["Train_Set", "Training_Set"])
def test_every_spelling_of_the_folders_is_read(tmp_path, annotations, train_set):
    split = CORPUS.load(write_release(tmp_path, annotations=annotations, train_set=train_set), None)
    assert (len(split.train), len(split.test)) == (3, 1)


def test_faces_may_lie_in_two_folders(tmp_path):
    root = write_release(tmp_path, images="batch1/cropped_aligned")
    new = root / "batch2/cropped_aligned_new_50_vids"
    new.mkdir(parents=True)
    (root / "batch1/cropped_aligned/video59").rename(new / "video59")
    split = CORPUS.load(root, None)
    assert split.test[0].source == new / "video59"
    assert len(split.test[0].frame_labels) == 4


def test_a_video_without_pictures_is_kept_for_check_and_counted(tmp_path):
    root = write_release(tmp_path)
    for path in (root / "cropped_aligned/12-24-1920x1080_left").iterdir():
        path.unlink()
    split = CORPUS.load(root, None)
    assert split.train[1].frame_labels == ()
    assert split.train[1].source.name == "12-24-1920x1080_left"
    assert split.left_out["video without a picture"] == 1
    assert split.left_out["frame without a picture"] == 3


def test_two_people_of_one_video_stay_together(tmp_path):
    split = CORPUS.load(write_release(tmp_path), None)
    assert [clip.person for clip in split.train] == ["100-29-1080x1920", "12-24-1920x1080", "12-24-1920x1080"]


def test_labelled_frames_become_stills(tmp_path):
    root = write_release(tmp_path, missing=["100-29-1080x1920/00001", "12-24-1920x1080_left/00001"])
    for path in (root / "cropped_aligned/12-24-1920x1080_left").iterdir():
        path.unlink()
    split = CORPUS.load(root, None)
    folder_of = {clip.name: clip.source for clip in split.train}
    stills = list_samples(split.train, split.label_names)
    found = [
        (f"{still.name}/{frame_paths(folder_of[still.name])[still.frame].name}", split.label_names[still.label])
        for still in stills
    ]
    assert found == [
        ("100-29-1080x1920/00002.jpg", Emotion.NEUTRAL),
        ("100-29-1080x1920/00003.jpg", Emotion.HAPPINESS),
        ("100-29-1080x1920/00004.jpg", Emotion.HAPPINESS),
        ("12-24-1920x1080_right/00001.jpg", Emotion.ANGER),
        ("12-24-1920x1080_right/00002.jpg", Emotion.DISGUST),
    ]
    assert stills[-1].person == "12-24-1920x1080"


def test_the_cascade_groups_as_both_releases_of_cfc_sp():
    config = CfcSpConfig()
    # So that a run keeps the groups of the system.
    assert config.label_names == list(aff_wild2.LABEL_NAMES)
    groups = [config.groups[name] for name in ("neutral", "happiness", "surprise", "other", "negative")]
    coarse = [next(index for index, group in enumerate(groups) if label in group) for label in aff_wild2.LABEL_NAMES]
    assert coarse == [0, 4, 4, 4, 1, 4, 2, 3]
    negative = groups[4]
    places = [negative.index(label) if label in negative else -1 for label in aff_wild2.LABEL_NAMES]
    assert places == [-1, 0, 1, 2, -1, 3, -1, -1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, "0", "8", "1"], r"from -1 to 7, got '8' \(Train_Set/bad.txt, line 3\)"),
        ([HEADER, "0", "", "1"], r"from -1 to 7, got '' \(Train_Set/bad.txt, line 3\)"),
        ([HEADER, "0", "1,2"], r"got '1,2' \(Train_Set/bad.txt, line 3\)"),
        (["0", "1"], r"Expected Neutral,Anger,.* in the first line.*got '0' \(Train_Set/bad.txt, line 1\)"),
        ([HEADER.rsplit(",", 1)[0], "0"], r"in the first line.*earlier ones had no class other"),
        ([], r"in the first line.*got ''"),
    ],
    ids=["unknown class", "gap", "two numbers", "no header", "seven classes", "empty"],
)
def test_a_malformed_annotation_is_named(tmp_path, lines, message):
    root = write_release(tmp_path)
    path = root / "Third_ABAW_Annotations/EXPR_Classification_Challenge/Train_Set/bad.txt"
    path.write_bytes("\r\n".join(lines).encode())
    with pytest.raises(CorpusError, match=message):
        CORPUS.load(root, None)


def test_a_wrong_root_lists_what_was_looked_for(tmp_path):
    with pytest.raises(CorpusError, match="EXPR_Classification_Challenge or EXPR_Recognition_Challenge in "):
        CORPUS.load(tmp_path, None)
    with pytest.raises(CorpusError, match="Expected the folder of Aff-Wild2 at"):
        CORPUS.load(tmp_path / "nowhere", None)
    with pytest.raises(CorpusError, match="got fold 2"):
        CORPUS.load(write_release(tmp_path), 2)


def test_a_missing_set_and_missing_faces_are_named(tmp_path):
    root = write_release(tmp_path)
    (root / "cropped_aligned").rename(root / "elsewhere")
    with pytest.raises(CorpusError, match="Expected faces in a folder cropped_aligned or"):
        CORPUS.load(root, None)
    (root / "cropped_aligned").mkdir()
    with pytest.raises(CorpusError, match=r"Expected a folder such as 100-29-1080x1920 in .* none of 4"):
        CORPUS.load(root, None)
    (root / "Third_ABAW_Annotations/EXPR_Classification_Challenge/Validation_Set").rename(root / "gone")
    with pytest.raises(CorpusError, match=r"Expected annotations such as Validation_Set/<video>.txt"):
        CORPUS.load(root, None)


def test_annotations_of_two_years_are_refused(tmp_path):
    write_release(tmp_path)
    write_release(tmp_path, annotations="5th_ABAW_Annotations/EXPR_Classification_Challenge")
    with pytest.raises(CorpusError, match=r"one folder of annotations, found .*5th.*Third"):
        CORPUS.load(tmp_path, None)


def test_a_frame_without_a_number_is_named(tmp_path):
    root = write_release(tmp_path)
    (root / "cropped_aligned/video59/cover.jpg").touch()
    with pytest.raises(CorpusError, match=r"named by number such as 00001.jpg, got .*cover.jpg"):
        CORPUS.load(root, None)
