import hashlib

import pytest

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import CorpusError
from training.datasets.folder import CORPUS
from training.datasets.labels import SPELLINGS, emotion_named


def write_clips(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.touch()
        else:
            path.mkdir()
            (path / "00001.jpg").touch()
    return root


def write_table(root, lines, *, end="\r\n", start=""):
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata.csv").write_bytes((start + end.join(lines) + end).encode())
    return root


def test_videos_pictures_and_folders_of_frames_are_clips(tmp_path):
    write_clips(
        tmp_path,
        [
            "train/happy/a.mp4",
            "train/Angry/b.PNG",
            "train/joy/c",
            "train/joy/notes.txt",
            "train/joy/.hidden.mp4",
            "test/Sadness/d.webm",
        ],
    )
    split = CORPUS.load(tmp_path, None)
    assert [(clip.name, clip.label) for clip in split.train] == [
        ("train/Angry/b.PNG", Emotion.ANGER),
        ("train/happy/a.mp4", Emotion.HAPPINESS),
        ("train/joy/c", Emotion.HAPPINESS),
    ]
    assert [(clip.name, clip.source, clip.label) for clip in split.test] == [
        ("test/Sadness/d.webm", tmp_path / "test/Sadness/d.webm", Emotion.SADNESS)
    ]
    assert split.label_names == (Emotion.HAPPINESS, Emotion.SADNESS, Emotion.ANGER)
    assert split.left_out == {"neither a video, a picture nor a folder": 1}


def test_a_part_for_validation_is_tested_on_only_where_there_is_no_test(tmp_path):
    write_clips(tmp_path, ["train/happy/a.mp4", "val/happy/b.mp4"])
    assert [clip.name for clip in CORPUS.load(tmp_path, None).test] == ["val/happy/b.mp4"]
    write_clips(tmp_path, ["test/happy/c.mp4"])
    split = CORPUS.load(tmp_path, None)
    assert [clip.name for clip in split.test] == ["test/happy/c.mp4"]
    assert split.left_out == {"in the part for validation": 1}


def test_without_parts_a_fifth_of_each_class_is_drawn_and_a_further_clip_moves_no_other(tmp_path):
    names = [f"{label}/{number:03d}.mp4" for label in ("happy", "sad", "fear") for number in range(100)]
    write_clips(tmp_path, names)
    before = CORPUS.load(tmp_path, None)
    for label in (Emotion.HAPPINESS, Emotion.SADNESS, Emotion.FEAR):
        assert 10 <= sum(clip.label is label for clip in before.test) <= 30
    write_clips(tmp_path, [f"happy/new{number}.mp4" for number in range(20)] + ["anger/first.mp4"])
    after = CORPUS.load(tmp_path, None)
    old_test = {clip.name for clip in after.test} & set(names)
    assert old_test == {clip.name for clip in before.test}
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert old_test == {name for name in names if int(digests[name], 16) < 0.2 * 2**256}


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_names_clips_labels_parts_and_people(tmp_path, end, start):
    lines = [
        "file_name,label,split,person",
        "clips\\a.mp4,happy,train,p1",
        '"clips/b, 2.mp4", Disgusted ,test,p2',
        "clips/c,CONTEMPT,train,",
    ]
    split = CORPUS.load(write_table(tmp_path, lines, end=end, start=start), None)
    assert [(clip.name, clip.label, clip.person) for clip in split.train] == [
        ("clips/a.mp4", Emotion.HAPPINESS, "p1"),
        ("clips/c", Emotion.CONTEMPT, None),
    ]
    assert [(clip.source, clip.label) for clip in split.test] == [(tmp_path / "clips/b, 2.mp4", Emotion.DISGUST)]


def test_people_are_never_divided(tmp_path):
    rows = [f"{person}/{number}.mp4,happy,person{person}" for person in range(60) for number in range(4)]
    split = CORPUS.load(write_table(tmp_path, ["file_name,label,person", *rows]), None)
    train, test = {clip.person for clip in split.train}, {clip.person for clip in split.test}
    assert not train & test
    assert 5 <= len(test) <= 20
    assert len(split.train) + len(split.test) == 240
    divided = ["file_name,label,split,person", "a.mp4,happy,train,p", "b.mp4,happy,test,p"]
    with pytest.raises(CorpusError, match=r"nobody both in training and in test, but p are \(1 people\)"):
        CORPUS.load(write_table(tmp_path, divided), None)


def test_every_spelling_is_known_in_any_case():
    for emotion, spellings in SPELLINGS.items():
        for spelling in spellings:
            assert emotion_named(f" {spelling.upper()} ", "here") is emotion
    assert set(SPELLINGS) == set(Emotion)
    assert len({word for words in SPELLINGS.values() for word in words}) == sum(map(len, SPELLINGS.values()))


def test_an_unknown_class_lists_the_known_ones(tmp_path):
    write_clips(tmp_path, ["happy/a.mp4", "bored/b.mp4"])
    with pytest.raises(CorpusError, match=r"a class in .*, got the unknown class 'bored'.*happiness, happy, joy"):
        CORPUS.load(tmp_path, None)
    write_table(tmp_path, ["file_name,label", "a.mp4,happy", "b.mp4,bored"])
    with pytest.raises(CorpusError, match=r"a class in metadata.csv, line 3, got the unknown class 'bored'"):
        CORPUS.load(tmp_path, None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,label", "a.mp4,happy"], r"Expected the columns file_name, label .*line 1\). Add file_name"),
        (["file_name,label", "a.mp4"], r"Expected 2 fields .*metadata.csv, line 2"),
        (["file_name,label", "a.mp4,happy,sad"], r"Expected 2 fields .*line 2"),
        (["file_name,label", ",happy"], r"with a file name.*line 2"),
        (["file_name,label", "a.mp4,happy", "./a.mp4,sad"], r"every clip once, got a.mp4 again .*line 3"),
        (["file_name,label,split", "a.mp4,happy,later"], r"Expected a part, got 'later' .*line 2\). Known: train"),
        (["file_name,label,split", "a.mp4,happy,train", "b.mp4,sad,"], r"b.mp4 is in none. Fill the column split"),
        (["file_name,label,split", "a.mp4,happy,train"], r"got 1 and 0. Add clips, or say which are which"),
    ],
)
def test_a_bad_table_is_named(tmp_path, lines, message):
    with pytest.raises(CorpusError, match=message):
        CORPUS.load(write_table(tmp_path, lines), None)


def test_a_wrong_root_lists_what_was_looked_for(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CorpusError, match=r"Expected metadata.csv, or folders such as happy/clip.mp4 or train/"):
            CORPUS.load(root, None)
    write_clips(tmp_path, ["train/happy/a.mp4", "test/happy/b.mp4", "angry/c.mp4"])
    with pytest.raises(CorpusError, match="Expected only parts beside test, train, got angry"):
        CORPUS.load(tmp_path, None)
    with pytest.raises(CorpusError, match="got fold 2"):
        CORPUS.load(tmp_path, 2)
