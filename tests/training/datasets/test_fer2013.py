import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import CorpusError
from training.datasets.fer2013 import CORPUS
from training.datasets.fer2013_plus import CORPUS as PLUS
from training.datasets.fer2013_plus import majority
from training.datasets.unpack_fer2013 import unpack

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
FACES = [
    ("Training", 0, {"neutral": 4, "anger": 3, "sadness": 1, "disgust": 2}),
    ("Training", 3, {"happiness": 10}),
    ("Training", 6, {"contempt": 6, "neutral": 3, "unknown": 1}),
    ("Training", 4, {"NF": 10}),
    ("PublicTest", 5, {"surprise": 10}),
    ("PrivateTest", 2, {"fear": 6, "surprise": 4}),
    ("PrivateTest", 1, {"unknown": 7, "disgust": 3}),
]


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def write_release(root, *, variant="fer2013.csv", votes=True, faces=FACES, end="\n"):
    """Write the table of the first release, or that of the challenge's page with its spaces in the header."""
    root.mkdir(parents=True, exist_ok=True)
    spaced = variant == "icml_face_data.csv"
    lines = ["emotion, Usage, pixels" if spaced else "emotion,pixels,Usage"]
    plus = ["Usage,Image name," + ",".join(VOTES)]
    for seed, (usage, code, counts) in enumerate(faces):
        pixels = " ".join(map(str, picture(seed).ravel()))
        lines.append(f"{code},{usage},{pixels}" if spaced else f"{code},{pixels},{usage}")
        name = "" if counts.get("NF") == 10 else f"fer{seed:07d}.png"  # the release names no face that is none
        plus.append(",".join([usage, name, *(str(counts.get(vote, 0)) for vote in VOTES)]))
    (root / variant).write_bytes((end.join(lines) + end).encode())
    if votes:
        (root / "fer2013new.csv").write_bytes((end.join(plus) + end).encode())
    return root


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("variant", ["fer2013.csv", "icml_face_data.csv"])
def test_pictures_are_written_as_they_stand_in_the_table(tmp_path, variant, end):
    folder = tmp_path / "written"
    assert unpack(write_release(tmp_path / "release", variant=variant, end=end), folder) == 7
    split = CORPUS.load(folder, None)
    assert [(clip.name, clip.label) for clip in split.train] == [
        ("train/00000.png", Emotion.ANGER),
        ("train/00001.png", Emotion.HAPPINESS),
        ("train/00002.png", Emotion.NEUTRAL),
        ("train/00003.png", Emotion.SADNESS),
    ]
    assert [clip.label for clip in split.test] == [Emotion.FEAR, Emotion.DISGUST]
    assert split.left_out == {"PublicTest, which the authors validate on": 1}
    for clip, seed in ((split.train[2], 2), (split.test[0], 5)):
        np.testing.assert_array_equal(cv2.imread(str(clip.source), cv2.IMREAD_UNCHANGED), picture(seed))


def test_votes_give_the_majority_of_ferplus(tmp_path):
    unpack(write_release(tmp_path / "release"), tmp_path / "written")
    split = PLUS.load(tmp_path / "written", None)
    assert [(clip.name, clip.label) for clip in split.train] == [
        ("train/00001.png", Emotion.HAPPINESS),
        ("train/00002.png", Emotion.CONTEMPT),
    ]
    assert [clip.label for clip in split.test] == [Emotion.FEAR]
    assert split.left_out["no majority, unknown or no face (FER+)"] == 3
    assert len(split.label_names) == 8


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ({"neutral": 4, "sadness": 1, "anger": 3, "disgust": 2}, None),
        # 4 of 7, as single votes do not count.
        ({"neutral": 4, "sadness": 1, "anger": 1, "disgust": 3}, "neutral"),
        ({"happiness": 5, "surprise": 5}, None),
        ({"happiness": 2, "anger": 1, "fear": 1}, "happiness"),
        ({"happiness": 1, "anger": 1}, None),
        ({"unknown": 6, "happiness": 4}, None),
        ({"NF": 10}, None),
    ],
)
def test_the_majority_is_that_of_the_authors(votes, label):
    assert majority(votes) == label


def test_the_release_of_folders_leaves_the_public_test_set_out(tmp_path):
    for name in (
        "train/angry/Training_3908.jpg",
        "train/neutral/Training_65.jpg",
        "train/surprise/Training_7.jpg",
        "test/happy/PrivateTest_95094.jpg",
        "test/happy/PublicTest_1.jpg",
        "test/sad/PrivateTest_2.jpg",
        "test/sad/._PrivateTest_2.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    split = CORPUS.load(tmp_path, None)
    assert [clip.label for clip in split.train] == [Emotion.ANGER, Emotion.NEUTRAL, Emotion.SURPRISE]
    assert [clip.name for clip in split.test] == ["test/happy/PrivateTest_95094.jpg", "test/sad/PrivateTest_2.jpg"]
    assert split.left_out == {"PublicTest, which the authors validate on": 1}
    with pytest.raises(CorpusError, match=r"Expected metadata.csv in .*Pass the folder written with"):
        PLUS.load(tmp_path, None)
    (tmp_path / "train/joyless").mkdir()
    with pytest.raises(CorpusError, match="got the unknown class 'joyless'"):
        CORPUS.load(tmp_path, None)


def test_the_counts_of_the_release_agree_with_each_other():
    assert sum(CORPUS.expected["1"].values()) == sum(CORPUS.expected["classes"].values()) == 32298


@pytest.mark.parametrize("corpus", [CORPUS, PLUS])
def test_the_table_alone_says_how_to_write_the_pictures(tmp_path, corpus):
    write_release(tmp_path)
    with pytest.raises(
        CorpusError, match=r"The table .*fer2013.csv is there: .*python -m training.datasets.unpack_fer2013"
    ):
        corpus.load(tmp_path, None)


def test_a_wrong_root_lists_what_was_looked_for(tmp_path):
    with pytest.raises(CorpusError, match=r"Expected metadata.csv, or folders such as train/happy and test/happy"):
        CORPUS.load(tmp_path, None)
    with pytest.raises(CorpusError, match=r"Expected fer2013.csv or icml_face_data.csv in"):
        unpack(tmp_path, tmp_path / "written")
    with pytest.raises(CorpusError, match="got fold 3"):
        CORPUS.load(tmp_path, 3)


def test_pictures_without_votes_serve_their_own_labels_only(tmp_path):
    unpack(write_release(tmp_path / "release", votes=False), tmp_path / "written")
    assert len(CORPUS.load(tmp_path / "written", None).train) == 4
    with pytest.raises(CorpusError, match=r"the column .* Write the pictures again with fer2013new.csv of FER\+"):
        PLUS.load(tmp_path / "written", None)


def test_pictures_are_written_once(tmp_path):
    unpack(write_release(tmp_path / "release"), tmp_path / "written")
    with pytest.raises(CorpusError, match=r"metadata.csv is there. Name a new folder"):
        unpack(tmp_path / "release", tmp_path / "written")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7,1 2 3,Training", r"Expected a class .*got 7 and Training \(fer2013.csv, line 9\)"),
        ("0,1 2 3,Training", r"Expected 2304 grey values .*got 3 fields .*line 9\)"),
        (f"0,{'256 ' * 2304},Training", r"Expected 2304 grey values .*line 9\)"),
        (f"0,{'25 ' * 2304}", r"and a part .*line 9\)"),
        (f"0,{'25 ' * 2304},Test", r"got 0 and Test .*line 9\)"),
    ],
)
def test_a_malformed_line_is_named_and_leaves_no_finished_folder(tmp_path, line, message):
    root = write_release(tmp_path / "release", votes=False)
    with (root / "fer2013.csv").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(CorpusError, match=message):
        unpack(root, tmp_path / "written")
    assert not (tmp_path / "written/metadata.csv").exists()


def test_a_table_with_other_columns_is_named(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels\n0,1 2\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"columns emotion, pixels and Usage, got emotion, pixels"):
        unpack(tmp_path, tmp_path / "written")


@pytest.mark.parametrize("change", ["shorter", "longer", "other order", "no number"])
def test_votes_of_another_table_are_refused(tmp_path, change):
    root = write_release(tmp_path / "release")
    rows = list(csv.reader((root / "fer2013new.csv").open(encoding="utf-8")))
    if change == "shorter":
        rows.pop()
    elif change == "longer":
        rows.append(rows[-1])
    elif change == "other order":
        rows[1], rows[-1] = rows[-1], rows[1]
    else:
        rows[3][4] = "x"
    with (root / "fer2013new.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(CorpusError, match=r"fer2013new.csv"):
        unpack(root, tmp_path / "written")


@pytest.mark.slow
def test_the_command_line_writes_the_pictures(tmp_path):
    write_release(tmp_path / "release")
    command = [
        sys.executable,
        "-m",
        "training.datasets.unpack_fer2013",
        str(tmp_path / "release"),
        str(tmp_path / "written"),
    ]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
    assert len(CORPUS.load(tmp_path / "written", None).train) == 4
