import pytest

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import CorpusError
from training.datasets.raf_db import CORPUS, ORIGINAL

LINES = [
    "train_00001.jpg 5",
    "train_00002.jpg 1",
    "train_00003.jpg 2",
    "train_00004.jpg 3",
    "test_0001.jpg 4",
    "test_0002.jpg 6",
    "test_0003.jpg 7",
]


def write_release(root, lines=LINES, *, end="\r\n", folders=("aligned", "original")):
    basic = root / "basic"
    (basic / "EmoLabel").mkdir(parents=True)
    (basic / "EmoLabel" / "list_patition_label.txt").write_bytes((end.join(lines) + end).encode())
    for folder in folders:
        (basic / "Image" / folder).mkdir(parents=True)
    return root


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("inside", [False, True])
def test_labels_and_parts_are_those_of_the_list(tmp_path, end, inside):
    root = write_release(tmp_path, end=end)
    split = CORPUS.load(root / "basic" if inside else root, None)
    assert [(clip.name, clip.label) for clip in split.train] == [
        ("train_00001.jpg", Emotion.SADNESS),
        ("train_00002.jpg", Emotion.SURPRISE),
        ("train_00003.jpg", Emotion.FEAR),
        ("train_00004.jpg", Emotion.DISGUST),
    ]
    assert [clip.label for clip in split.test] == [Emotion.HAPPINESS, Emotion.ANGER, Emotion.NEUTRAL]
    assert split.train[0].source == tmp_path / "basic/Image/aligned/train_00001_aligned.jpg"
    assert split.fold is None


def test_the_original_pictures_are_a_corpus_of_their_own(tmp_path):
    split = ORIGINAL.load(write_release(tmp_path, folders=("original",)), None)
    assert split.test[0].source == tmp_path / "basic/Image/original/test_0001.jpg"
    with pytest.raises(CorpusError, match="read it as the corpus raf_db_original"):
        CORPUS.load(tmp_path, None)


@pytest.mark.parametrize("top", ["DATASET", "."])
def test_the_aligned_pictures_in_circulation_have_their_class_as_folder(tmp_path, top):
    for name in ("train/1/train_00002_aligned.jpg", "train/7/train_00009_aligned.jpg", "test/4/test_0001_aligned.jpg"):
        (tmp_path / top / name).parent.mkdir(parents=True)
        (tmp_path / top / name).touch()
    (tmp_path / top / "train/1/._train_00002_aligned.jpg").touch()
    (tmp_path / "train_labels.csv").touch()
    split = CORPUS.load(tmp_path, None)
    found = [(clip.name, clip.label) for clip in split.train]
    assert found == [("train_00002.jpg", Emotion.SURPRISE), ("train_00009.jpg", Emotion.NEUTRAL)]
    assert [(clip.name, clip.source) for clip in split.test] == [
        ("test_0001.jpg", tmp_path / top / "test/4/test_0001_aligned.jpg")
    ]
    with pytest.raises(CorpusError, match="Expected the list"):
        ORIGINAL.load(tmp_path, None)
    (tmp_path / top / "train/8").mkdir()
    with pytest.raises(CorpusError, match=r"classes of RAF-DB in .*train, got 8"):
        CORPUS.load(tmp_path, None)


def test_the_counts_of_the_release_agree_with_each_other():
    assert sum(CORPUS.expected["1"].values()) == sum(CORPUS.expected["classes"].values()) == 15339


def test_a_wrong_root_lists_what_was_looked_for(tmp_path):
    with pytest.raises(CorpusError, match=r"EmoLabel/list_patition_label.txt in .*basic or "):
        CORPUS.load(tmp_path, None)
    with pytest.raises(CorpusError, match="Expected no fold for RAF-DB"):
        CORPUS.load(write_release(tmp_path / "release"), 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_00009.jpg 8", r"Expected a class of RAF-DB, got 8 \(list_patition_label.txt, line 3\).*7 neutral"),
        ("train_00009.jpg", r"Expected a line such as .*line 3"),
        ("valid_00009.jpg 1", r"Expected a line such as .*line 3"),
        ("train_00001.jpg 2", r"every picture once, got train_00001.jpg again .*line 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    with pytest.raises(CorpusError, match=message):
        CORPUS.load(write_release(tmp_path, [*LINES[:2], line, *LINES[2:]]), None)
