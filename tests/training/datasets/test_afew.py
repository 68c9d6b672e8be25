import pytest

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.afew import load
from training.datasets.corpus import CorpusError

from .. import layouts


def labels_of(clips):
    return {clip.name: clip.label for clip in clips}


def test_frames_of_former_dfer_are_read_by_their_folders(tmp_path):
    layouts.write_afew_faces(tmp_path, num_frames=1)
    split = load(tmp_path)
    assert (split.corpus, split.fold, split.label_names) == ("afew", None, SEVEN_EMOTIONS)
    assert labels_of(split.test) == {
        "validation/Disgust/1_1_011756001": Emotion.DISGUST,
        "validation/Fear/1_2_011756002": Emotion.FEAR,
        "validation/Happiness/1_0_011756000": Emotion.HAPPINESS,
    }
    assert len(split.train) == 8
    assert {clip.label for clip in split.train} == set(SEVEN_EMOTIONS)
    assert split.test[0].source == tmp_path / "AFEW_Face/validation/Disgust/1_1_011756001"


def test_the_folder_of_the_frames_itself_is_a_root_too(tmp_path):
    layouts.write_afew_faces(tmp_path, num_frames=1)
    inner = load(tmp_path / "AFEW_Face")
    assert labels_of(inner.train) == labels_of(load(tmp_path).train)


@pytest.mark.parametrize(("train", "val"), [("Train_AFEW", "Val_AFEW"), ("train", "val")])
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ""], ids=["avi", "mp4", "folders"])
def test_the_release_is_read_without_the_faces_beside(tmp_path, train, val, suffix):
    split = load(layouts.write_afew_release(tmp_path, train=train, val=val, suffix=suffix))
    assert labels_of(split.train) == {
        f"{train}/Angry/000046200": Emotion.ANGER,
        f"{train}/Fear/000046230": Emotion.FEAR,
        f"{train}/Happy/000046210": Emotion.HAPPINESS,
        f"{train}/Sad/000046220": Emotion.SADNESS,
    }
    assert labels_of(split.test) == {
        f"{val}/Disgust/000046200": Emotion.DISGUST,
        f"{val}/Neutral/000046210": Emotion.NEUTRAL,
        f"{val}/Surprise/000046220": Emotion.SURPRISE,
    }
    assert split.train[0].source == tmp_path / train / "Angry" / f"000046200{suffix}"


def write_lists(root, train, validation):
    layouts.write_text(root / "annotation/AFEW_train.txt", train)
    layouts.write_text(root / "annotation/AFEW_validation.txt", validation)


def test_lists_say_which_clips_there_are(tmp_path):
    layouts.write_afew_faces(tmp_path, num_frames=1)
    path = "/home/user/datasets/AFEW_Face"
    write_lists(
        tmp_path,
        [f"{path}/train/Disgust/0_5_011756005 79 5", f"{path}/train/Anger/0_3_999 47 3"],
        [f"{path}/validation/Happiness/1_0_011756000 80 0"],
    )
    split = load(tmp_path)
    assert labels_of(split.train) == {
        "train/Disgust/0_5_011756005": Emotion.DISGUST,
        "train/Anger/0_3_999": Emotion.ANGER,
    }
    assert split.train[0].source.is_dir()
    assert split.train[1].source == tmp_path / "AFEW_Face/train/Anger/0_3_999"
    assert split.test[0].source == tmp_path / "AFEW_Face/validation/Happiness/1_0_011756000"


def test_a_number_that_contradicts_its_folder_is_refused(tmp_path):
    write_lists(tmp_path, ["train/Disgust/0_5_1 79 5", "train/Anger/0_3_1 47 0"], ["validation/Fear/1_6_1 20 6"])
    with pytest.raises(CorpusError, match=r"line 2 of .*AFEW_train.txt, got the number 0"):
        load(tmp_path)


def test_a_folder_of_a_class_nobody_knows_is_named(tmp_path):
    layouts.write_afew_release(tmp_path, suffix="")
    layouts.write_frames(tmp_path / "Val_AFEW/Contempt/000046290", 1)
    with pytest.raises(CorpusError, match="the unknown class 'Contempt'"):
        load(tmp_path)


def test_a_part_without_clips_is_refused(tmp_path):
    layouts.write_afew_release(tmp_path, suffix="")
    layouts.take_away(tmp_path / "Val_AFEW")
    (tmp_path / "Val_AFEW" / "Happy").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"with clips in .*Val_AFEW, found none"):
        load(tmp_path)


def test_a_missing_part_and_a_wrong_root_are_named(tmp_path):
    layouts.write_afew_release(tmp_path, suffix="")
    with pytest.raises(CorpusError, match=r"holds AlignedFaces_LBPTOP_Points, Angry, .*Looked for: AFEW_Face/train"):
        load(tmp_path / "Train_AFEW")
    layouts.take_away(tmp_path / "Val_AFEW")
    with pytest.raises(CorpusError, match="found Train_AFEW alone"):
        load(tmp_path)
    write_lists(tmp_path, ["train/Disgust/0_5_1 79 5"], ["validation/Fear/1_6_1 20 6"])
    (tmp_path / "annotation/AFEW_validation.txt").unlink()
    with pytest.raises(CorpusError, match=r"AFEW_validation.txt beside"):
        load(tmp_path)


def test_a_video_beside_its_frames_is_refused(tmp_path):
    layouts.write_afew_release(tmp_path, suffix="")
    layouts.write_bytes(tmp_path / "Train_AFEW/Sad/000046220.avi", b"video")
    with pytest.raises(CorpusError, match="one source of the clip Train_AFEW/Sad/000046220"):
        load(tmp_path)


def test_the_corpus_has_no_folds(tmp_path):
    with pytest.raises(CorpusError, match="no fold for AFEW, which has one division, got fold 2"):
        load(layouts.write_afew_faces(tmp_path, num_frames=1), 2)
