import pytest

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import CorpusError
from training.datasets.mafw import COMPOUND, COMPOUND_CLASSES, CORPUS, load

from .. import layouts

LABELS = {"03747": Emotion.ANGER, "03785": Emotion.CONTEMPT, "00041": Emotion.HELPLESSNESS, "09000": Emotion.HAPPINESS}
TEST_LABELS = {"00025": Emotion.ANGER, "07000": Emotion.DISAPPOINTMENT, "00108": Emotion.ANXIETY}
IN_THE_ORDER_OF_THE_PAPER = [
    "anger",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
    "contempt",
    "anxiety",
    "helplessness",
    "disappointment",
]


def assert_is_the_miniature(split):
    assert {clip.name: clip.label for clip in split.train} == LABELS
    assert {clip.name: clip.label for clip in split.test} == TEST_LABELS
    assert list(map(str, split.label_names)) == IN_THE_ORDER_OF_THE_PAPER


@pytest.mark.parametrize("top", ["Train & Test Set", "split", "anno", "."])
@pytest.mark.parametrize("fold", [1, 5])
def test_lists_without_captions_are_read(tmp_path, top, fold):
    split = load(layouts.write_mafw_lists(tmp_path, top=top), fold)
    assert_is_the_miniature(split)
    assert (split.corpus, split.fold, split.left_out) == ("mafw", fold, {})


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-8", "utf-8-sig"])
def test_lists_with_chinese_captions_are_read_in_every_encoding(tmp_path, encoding):
    layouts.write_mafw_lists(tmp_path, caption="with_caption", encoding=encoding)
    if encoding == "gbk":
        data = (tmp_path / "split/single/with_caption/set_1/train.txt").read_bytes()
        with pytest.raises(UnicodeDecodeError):
            data.decode("utf-8")
    assert_is_the_miniature(load(tmp_path, 1))


def test_clips_of_several_emotions_are_left_out_and_counted(tmp_path):
    extra = [("20045", "anger_disgust_anxiety"), ("20046", "sadness_surprise")]
    split = load(layouts.write_mafw_lists(tmp_path, extra=extra), 1)
    assert_is_the_miniature(split)
    assert split.left_out == {"compound label": 2}


def test_the_compound_set_has_43_classes(tmp_path):
    extra = [("20045", "anger_disgust_anxiety"), ("20046", "surprise_sadness")]
    split = COMPOUND.load(layouts.write_mafw_lists(tmp_path, top="Train & Test Set", kind="compound", extra=extra), 2)
    assert (split.corpus, split.fold, split.left_out) == ("mafw_compound", 2, {})
    assert {clip.name: clip.label for clip in split.train} == LABELS | {
        "20045": "anger_disgust_anxiety",
        "20046": "sadness_surprise",
    }
    assert list(split.label_names[:11]) == IN_THE_ORDER_OF_THE_PAPER
    assert len(set(split.label_names)) == len(COMPOUND_CLASSES) == 43


def test_a_compound_that_the_release_does_not_have_is_named(tmp_path):
    layouts.write_mafw_lists(tmp_path, kind="compound", extra=[("20045", "happiness_fear")])
    with pytest.raises(CorpusError, match=r"one of the 43 classes in line 5 .*unknown class 'happiness_fear'"):
        COMPOUND.load(tmp_path, 1)


def test_counts_of_classes_and_of_folds_agree():
    assert {sum(CORPUS.expected[str(fold)].values()) for fold in range(1, 6)} == {9172}
    assert sum(CORPUS.expected["classes"].values()) == 9172
    assert {sum(COMPOUND.expected[str(fold)].values()) for fold in range(1, 6)} == {8996}


@pytest.mark.parametrize("label", ["awe", "anger_awe", "other", "_", "anger_"])
def test_a_class_nobody_knows_is_named(tmp_path, label):
    layouts.write_mafw_lists(tmp_path, extra=[("20045", label)])
    with pytest.raises(CorpusError, match=r"line 5 of .*train.txt, got the unknown class"):
        load(tmp_path, 1)


def test_numbers_are_refused_because_they_mean_three_things(tmp_path):
    for part in ("train", "test"):
        layouts.write_text(tmp_path / f"annotation/MAFW_set_1_{part}.txt", ["/data/MAFW/data/faces/00025 47 3"])
    with pytest.raises(CorpusError, match="got the number 3, which means three classes"):
        load(tmp_path, 1)


@pytest.mark.parametrize("folder", ["data/faces", "data/frames", "frames_crop_align_224"])
def test_frames_are_found_in_every_layout(tmp_path, folder):
    layouts.write_mafw_lists(tmp_path)
    layouts.write_mafw_media(tmp_path, folder, num_frames=1)
    assert load(tmp_path, 2).test[0].source == tmp_path / folder / "00025"


@pytest.mark.parametrize("folder", ["data/clips", "clips"])
def test_videos_are_found(tmp_path, folder):
    layouts.write_mafw_lists(tmp_path)
    path = layouts.write_bytes(tmp_path / folder / "00025.mp4", b"video")
    assert load(tmp_path, 2).test[0].source == path


def test_faces_are_taken_before_whole_frames_and_videos(tmp_path):
    layouts.write_mafw_lists(tmp_path)
    layouts.write_bytes(tmp_path / "data/clips/00025.mp4", b"video")
    layouts.write_mafw_media(tmp_path, "data/frames", num_frames=1)
    layouts.write_mafw_media(tmp_path, "data/faces", num_frames=1)
    assert load(tmp_path, 2).test[0].source == tmp_path / "data/faces/00025"


@pytest.mark.parametrize("fold", [None, 0, 6])
def test_a_fold_that_is_not_there_is_refused(tmp_path, fold):
    layouts.write_mafw_lists(tmp_path)
    with pytest.raises(CorpusError, match=f"fold of MAFW from 1 to 5, got {fold}"):
        load(tmp_path, fold)


def test_a_missing_split_file_and_a_wrong_root_are_named(tmp_path):
    layouts.write_mafw_lists(tmp_path)
    (tmp_path / "split/single/no_caption/set_2/train.txt").unlink()
    with pytest.raises(CorpusError, match=r"set_2/train.txt beside .*set_2/test.txt"):
        load(tmp_path, 2)
    with pytest.raises(CorpusError, match=r"Looked for: Train & Test Set/single/no_caption/set_1/train.txt with"):
        load(tmp_path / "nowhere", 1)


@pytest.mark.parametrize("line", ["03747.mp4", "clip.mp4 anger"], ids=["no label", "no number"])
def test_a_line_that_cannot_be_read_is_named(tmp_path, line):
    layouts.write_mafw_lists(tmp_path)
    path = tmp_path / "split/single/no_caption/set_1/train.txt"
    layouts.write_text(path, ["03785.mp4 anger", line])
    with pytest.raises(CorpusError, match=f"line 2 of {path}"):
        load(tmp_path, 1)


def test_a_text_of_no_known_encoding_is_named(tmp_path):
    layouts.write_mafw_lists(tmp_path)
    layouts.write_bytes(tmp_path / "split/single/no_caption/set_1/train.txt", b"03747.mp4 anger\xff\xff\n")
    with pytest.raises(CorpusError, match=r"UTF-8 or GB18030 in .*set_1/train.txt"):
        load(tmp_path, 1)


@pytest.mark.parametrize(
    ("extra", "message"),
    [([("03747", "anger")], "got 03747 twice in training"), ([("00025", "anger")], "got 00025 in both")],
)
def test_clips_listed_twice_are_refused(tmp_path, extra, message):
    layouts.write_mafw_lists(tmp_path, extra=extra)
    with pytest.raises(CorpusError, match=message):
        load(tmp_path, 1)
