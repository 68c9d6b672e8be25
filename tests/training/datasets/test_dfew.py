import re

import pytest

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import CorpusError
from training.datasets.dfew import CORPUS, load

from .. import layouts

LABELS = {
    "00001": Emotion.HAPPINESS,
    "00002": Emotion.SADNESS,
    "00027": Emotion.FEAR,
    "02522": Emotion.DISGUST,
    "12059": Emotion.NEUTRAL,
    "00300": Emotion.ANGER,
}
TEST_LABELS = {"00004": Emotion.SURPRISE, "00006": Emotion.FEAR, "11111": Emotion.HAPPINESS}


def labels_of(clips):
    return {clip.name: clip.label for clip in clips}


def assert_is_the_miniature(split):
    assert labels_of(split.train) == LABELS
    assert labels_of(split.test) == TEST_LABELS
    assert split.label_names == SEVEN_EMOTIONS


@pytest.mark.parametrize("fold", [1, 5])
@pytest.mark.parametrize("pattern", [layouts.OFFICIAL_DFEW, layouts.OLDER_DFEW])
def test_the_release_is_read(tmp_path, pattern, fold):
    split = load(layouts.write_dfew_lists(tmp_path, pattern), fold)
    assert_is_the_miniature(split)
    assert (split.corpus, split.fold) == ("dfew", fold)


def test_csv_files_of_s2d_count_from_zero(tmp_path):
    assert_is_the_miniature(load(layouts.write_dfew_lists(tmp_path, layouts.S2D_DFEW, first=0), 2))


@pytest.mark.parametrize("with_counts", [True, False], ids=["Former-DFER", "without counts"])
def test_lists_of_paths_are_read(tmp_path, with_counts):
    root = layouts.write_dfew_path_lists(tmp_path, with_counts=with_counts)
    assert_is_the_miniature(load(root, 1))


@pytest.mark.parametrize("test_part", ["test", "val"])
def test_lists_of_mae_dfer_are_read(tmp_path, test_part):
    root = layouts.write_dfew_path_lists(
        tmp_path, layouts.MAE_DFER_DFEW, fold=2, with_counts=False, test_part=test_part
    )
    assert_is_the_miniature(load(root, 2))


@pytest.mark.parametrize(
    "text",
    [
        {"bom": True},
        {"newline": "\r\n", "ending": "\r\n"},
        {"ending": ""},
        {"ending": "\n\n\n"},
        {"bom": True, "newline": "\r\n", "ending": ""},
    ],
    ids=["byte order mark", "CRLF", "no trailing newline", "several trailing newlines", "all of it"],
)
def test_bytes_around_the_lines_do_not_matter(tmp_path, text):
    assert_is_the_miniature(load(layouts.write_dfew_lists(tmp_path, **text), 1))


def test_a_csv_file_without_header_loses_no_clip(tmp_path):
    layouts.write_dfew_lists(tmp_path)
    for part, labels in zip(("train", "test"), layouts.DFEW_CLIPS, strict=True):
        lines = [f"{name},{label}" for name, label in labels.items()]
        layouts.write_text(tmp_path / layouts.OFFICIAL_DFEW.format(part=part, fold=1), lines)
    assert_is_the_miniature(load(tmp_path, 1))


def test_names_without_zeros_are_those_of_the_folders(tmp_path):
    bare = [{name.lstrip("0"): label for name, label in part.items()} for part in layouts.DFEW_CLIPS]
    layouts.write_dfew_lists(tmp_path, clips=bare)
    layouts.write_dfew_frames(tmp_path)
    split = load(tmp_path, 1)
    assert_is_the_miniature(split)
    assert all(clip.source.is_dir() for clip in split.train)


@pytest.mark.parametrize(("labels", "came"), [([2, 3], "neither 0 nor 7"), ([1, 8], "both 0 and 7")])
def test_numbers_that_can_be_read_in_two_ways_are_an_error(tmp_path, labels, came):
    clips = ({"00001": labels[0], "00002": labels[1]}, {"00003": 4})
    layouts.write_dfew_lists(tmp_path, clips=clips, first=0)
    with pytest.raises(CorpusError, match=f"got {came} in .*set_1.csv"):
        load(tmp_path, 1)


@pytest.mark.parametrize(
    "folder",
    [
        "Clip/clip_224x224",
        "Clip/clip_224x224/clip_224x224",
        "clip_224x224",
        "Clip/jpg_256",
        "Clip/clip_224x224_16f",
        "DFEW_Face",
        "data",
    ],
)
def test_frames_are_found_in_every_layout(tmp_path, folder):
    layouts.write_dfew_lists(tmp_path)
    layouts.write_dfew_frames(tmp_path, folder, num_frames=1)
    split = load(tmp_path, 1)
    assert [clip.source for clip in split.test] == [tmp_path / folder / name for name in TEST_LABELS]


@pytest.mark.parametrize("stem", ["{}", "{:05d}"], ids=["bare", "with zeros"])
def test_videos_are_found(tmp_path, stem):
    layouts.write_dfew_lists(tmp_path)
    for name in (*LABELS, *TEST_LABELS):
        layouts.write_bytes(tmp_path / "Clip/original" / f"{stem.format(int(name))}.mp4", b"video")
    split = load(tmp_path, 1)
    assert all(clip.source.is_file() for clip in (*split.train, *split.test))


def test_frames_of_the_authors_are_taken_before_those_cut_to_16(tmp_path):
    layouts.write_dfew_lists(tmp_path)
    for folder in ("Clip/clip_224x224_16f", "Clip/jpg_256", "Clip/clip_224x224/clip_224x224"):
        layouts.write_dfew_frames(tmp_path, folder, num_frames=1)
    assert load(tmp_path, 1).train[0].source == tmp_path / "Clip/clip_224x224/clip_224x224/00001"


def test_clips_without_frames_stay(tmp_path):
    layouts.write_dfew_lists(tmp_path)
    layouts.write_dfew_frames(tmp_path, num_frames=1)
    layouts.take_away(tmp_path / "Clip/clip_224x224/02522")
    split = load(tmp_path, 1)
    assert_is_the_miniature(split)
    assert split.train[3].source == tmp_path / "Clip/clip_224x224/02522"


def test_annotations_can_be_read_without_any_frame(tmp_path):
    assert_is_the_miniature(load(layouts.write_dfew_lists(tmp_path), 1))


@pytest.mark.parametrize("fold", [None, 0, 6, -1])
def test_a_fold_that_is_not_there_is_refused(tmp_path, fold):
    layouts.write_dfew_lists(tmp_path)
    with pytest.raises(CorpusError, match=f"fold of DFEW from 1 to 5, got {fold}"):
        load(tmp_path, fold)


def test_a_wrong_root_says_what_was_looked_for_and_what_is_there(tmp_path):
    (tmp_path / "DFEW-part2").mkdir()
    looked_for = "EmoLabel_DataSplit/train(single-labeled)/set_3.csv"
    with pytest.raises(CorpusError, match=rf"holds DFEW-part2\..*{re.escape(looked_for)}"):
        load(tmp_path, 3)
    with pytest.raises(CorpusError, match="there is no such folder"):
        load(tmp_path / "elsewhere", 3)


def test_a_missing_split_file_is_named(tmp_path):
    layouts.write_dfew_lists(tmp_path)
    missing = tmp_path / layouts.OFFICIAL_DFEW.format(part="test", fold=4)
    missing.unlink()
    with pytest.raises(CorpusError, match=rf"Expected {re.escape(str(missing))} beside"):
        load(tmp_path, 4)
    assert load(tmp_path, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("00005", "a clip, a comma and a label"),
        ("00005,1,2", "a clip, a comma and a label"),
        ("00005,", "a clip and a label"),
        ("00005,happy", "a number as label"),
        ("00005,9", "the unknown class 9"),
        ("clip5,1", "a clip named by a number"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line, message):
    layouts.write_dfew_lists(tmp_path)
    path = tmp_path / layouts.OFFICIAL_DFEW.format(part="train", fold=1)
    layouts.write_text(path, ["video_name,label", "00027,7", line, "00001,1"])
    with pytest.raises(CorpusError, match=message) as caught:
        load(tmp_path, 1)
    assert f"line 3 of {path}" in str(caught.value)


def test_a_list_that_changes_its_format_is_refused(tmp_path):
    layouts.write_dfew_path_lists(tmp_path)
    path = tmp_path / layouts.FORMER_DFER_DFEW.format(part="train", fold=1)
    layouts.write_text(path, ["DFEW_Face/00001 66 0", "DFEW_Face/00002 66"])
    with pytest.raises(CorpusError, match=r"<path> <number of frames> <label>, as in the first line in line 2"):
        load(tmp_path, 1)


@pytest.mark.parametrize("lines", [[], ["video_name,label"]], ids=["empty", "header alone"])
def test_a_list_without_clips_is_refused(tmp_path, lines):
    layouts.write_dfew_lists(tmp_path)
    layouts.write_text(tmp_path / layouts.OFFICIAL_DFEW.format(part="test", fold=1), lines)
    with pytest.raises(CorpusError, match="Expected clips and labels in"):
        load(tmp_path, 1)


def test_a_clip_listed_twice_is_refused(tmp_path):
    layouts.write_dfew_lists(tmp_path, clips=({"00001": 1, "1": 1, "00027": 7}, {"00004": 5}))
    with pytest.raises(CorpusError, match="got 00001 twice in training"):
        load(tmp_path, 1)


def test_a_clip_to_train_and_to_test_on_is_refused(tmp_path):
    layouts.write_dfew_lists(tmp_path, clips=({"00001": 1, "00027": 7}, {"00027": 7}))
    with pytest.raises(CorpusError, match="got 00027 in both"):
        load(tmp_path, 1)


def test_folders_are_listed_and_clips_not_asked_for_one_by_one(tmp_path, monkeypatch):
    layouts.write_dfew_lists(tmp_path)
    layouts.write_dfew_frames(tmp_path, "Clip/jpg_256", num_frames=1)
    asked = []
    path_type = type(tmp_path)
    for name in ("is_dir", "is_file", "exists", "stat"):
        original = getattr(path_type, name)
        monkeypatch.setattr(
            path_type, name, lambda self, *a, _o=original, **k: asked.append(self) or _o(self, *a, **k)
        )
    load(tmp_path, 1)
    assert not [path for path in asked if path.name.isdigit()]


def test_counts_of_classes_and_of_folds_agree():
    sizes = [CORPUS.expected[str(fold)] for fold in range(1, 6)]
    assert {size["train"] + size["test"] for size in sizes} == {sum(CORPUS.expected["classes"].values())}
    assert sum(size["test"] for size in sizes) == 11697
