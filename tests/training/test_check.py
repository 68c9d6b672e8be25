import dataclasses
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import training.check
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.arguments import read_command_line
from training.datasets import dfew, ferv39k
from training.datasets.clip_check import check_clip, check_clips
from training.datasets.corpus import Clip, CorpusError, Split
from training.datasets.registry import CORPORA, find_corpus

from . import layouts

ROOT = Path(__file__).resolve().parents[2]
MINIATURE = {"train": len(layouts.DFEW_CLIPS[0]), "test": len(layouts.DFEW_CLIPS[1])}
CLASSES = {"happiness": 2, "sadness": 1, "neutral": 1, "anger": 1, "surprise": 1, "disgust": 1, "fear": 2}


@pytest.fixture
def expect(monkeypatch):
    """Replace the releases of DFEW and FERV39k by miniatures."""
    expected = {str(fold): MINIATURE for fold in range(1, 6)} | {"classes": CLASSES}
    monkeypatch.setitem(CORPORA, "dfew", dataclasses.replace(dfew.CORPUS, expected=expected))
    counts = {"1": {"train": 5, "test": 3}}
    monkeypatch.setitem(CORPORA, "ferv39k", dataclasses.replace(ferv39k.CORPUS, expected=counts))


@pytest.fixture
def root(tmp_path, expect):  # noqa: ARG001  a fixture asks for others by its arguments
    layouts.write_dfew_lists(tmp_path)
    return layouts.write_dfew_frames(tmp_path)


def check(*words):
    return training.check.main(read_command_line("check", [str(word) for word in words]))


def clip_at(source, **fields):
    return Clip("a/clip", source, Emotion.FEAR, **fields)


def test_a_whole_corpus_is_as_expected(root, capsys):
    assert check("dfew", root) == 0
    shown = capsys.readouterr().out
    assert [f"fold {fold}" in shown for fold in range(1, 6)] == [True] * 5
    assert "files: 9 clips" in shown
    assert shown.endswith("as expected\n")
    assert "differs" not in shown


def test_one_fold_can_be_checked_alone(root, capsys):
    (root / layouts.OFFICIAL_DFEW.format(part="test", fold=3)).unlink()
    assert check("dfew", root, "--fold", 2) == 0
    shown = capsys.readouterr().out
    assert "fold 2" in shown
    assert "fold 3" not in shown
    assert check("dfew", root, "--fold", 3) == 1


def test_the_table_counts_every_class_of_every_split(root, capsys):
    check("dfew", root, "--fold", 1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["fold", "1", "train", "test", "total", "release"] in rows
    assert ["happiness", "1", "1", "2", "2"] in rows
    assert ["surprise", "0", "1", "1", "1"] in rows
    assert ["clips", "6", "3", "9"] in rows
    assert ["release", "6", "3", "9"] in rows


def test_a_fold_of_another_size_differs(root, capsys):
    fewer = dict(list(layouts.DFEW_CLIPS[0].items())[:-1])
    layouts.write_dfew_lists(root, folds=(4,), clips=(fewer, layouts.DFEW_CLIPS[1]))
    assert check("dfew", root) == 1
    shown = capsys.readouterr().out
    assert "differs: fold 4: expected 6 clips in train, found 5 (-1)" in shown
    assert "differs: fold 4: expected 1 anger clips, found 0 (-1)" in shown
    assert shown.count("differs: ") == 2
    rows = [line.split() for line in shown.splitlines()]
    assert ["anger", "0", "0", "0", "1", "differs"] in rows
    assert ["release", "6", "3", "9", "differs"] in rows
    assert dfew.CORPUS.source in shown


def test_a_fold_that_cannot_be_read_does_not_hide_the_others(root, capsys):
    (root / layouts.OFFICIAL_DFEW.format(part="test", fold=3)).unlink()
    assert check("dfew", root) == 1
    shown = capsys.readouterr().out
    assert "CorpusError: Expected" in shown
    assert "files: 9 clips" in shown
    assert "fold 5" in shown


def test_a_wrong_root_is_said_once(tmp_path, capsys):
    assert check("dfew", tmp_path) == 1
    shown = capsys.readouterr().out
    assert shown.count("Looked for: ") == 1
    assert "nor could any of the other 4 folds be read" in shown


def test_missing_and_empty_folders_are_named(root, capsys):
    layouts.take_away(root / "Clip/clip_224x224/02522")
    for frame in (root / "Clip/clip_224x224/00027").iterdir():
        frame.unlink()
    assert check("dfew", root) == 1
    shown = capsys.readouterr().out
    assert "missing: 2\n" in shown
    assert f"02522  {root / 'Clip/clip_224x224/02522'}: there is neither a file nor a folder" in shown
    assert "00027" in shown


def test_short_clips_are_named_but_belong_to_releases(root, capsys):
    layouts.take_away(root / "Clip/clip_224x224/02522")
    layouts.write_frames(root / "Clip/clip_224x224/02522", 15)
    assert check("dfew", root) == 0
    shown = capsys.readouterr().out
    assert "shorter than 16 frames: 1\n" in shown
    assert "02522: 15 frames" in shown
    assert "frames of a clip: 15 to 16, mean 15.9" in shown


def test_many_clips_are_counted_and_the_first_named(root, capsys):
    layouts.take_away(root / "Clip")
    more = {f"{number:05d}": 1 for number in range(30000, 30020)}
    layouts.write_dfew_lists(root, folds=(1,), clips=(layouts.DFEW_CLIPS[0] | more, layouts.DFEW_CLIPS[1]))
    assert check("dfew", root, "--fold", 1) == 1
    shown = capsys.readouterr().out
    assert "missing: 29\n" in shown
    assert shown.count("there is neither a file nor a folder") == training.check.NUM_SHOWN
    assert "and 19 more" in shown


def damage_empty(path):
    path.write_bytes(b"")


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def damage_header(path):
    path.write_bytes(path.read_bytes()[:8])


def damage_text(path):
    path.write_text("no picture", encoding="utf-8")


@pytest.mark.parametrize("damage", [damage_empty, damage_cut, damage_header, damage_text])
@pytest.mark.parametrize("place", [0, 15])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_damage_to_the_first_or_last_frame_is_found_at_once(tmp_path, damage, place, suffix):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(16):
        (folder / f"{number}{suffix}").write_bytes(layouts.picture(suffix))
    assert check_clip(clip_at(folder)).unreadable is None
    damage(folder / f"{place}{suffix}")
    report = check_clip(clip_at(folder))
    assert f"{place}{suffix}" in (report.unreadable or "")
    assert report.num_frames == 16


@pytest.mark.parametrize("damage", [damage_empty, damage_cut, damage_header, damage_text])
def test_damage_in_the_middle_is_found_by_decoding_all(tmp_path, damage):
    folder = layouts.write_frames(tmp_path / "00001")
    damage(folder / "00001_00007.jpg")
    assert check_clip(clip_at(folder)).unreadable is None
    assert "00001_00007.jpg" in (check_clip(clip_at(folder), deep=True).unreadable or "")


def test_all_frames_are_decoded_only_when_asked_for(root, capsys):
    damage_cut(root / "Clip/clip_224x224/00001/00001_00007.jpg")
    assert check("dfew", root) == 0
    assert check("dfew", root, "--deep") == 1
    assert "unreadable: 1\n" in capsys.readouterr().out


def test_a_picture_with_a_good_header_that_cannot_be_decoded_is_found(tmp_path):
    folder = layouts.write_frames(tmp_path / "00001")
    data = bytearray(layouts.picture(".png", side=40))
    data[60:200] = bytes(140)
    (folder / "00001_00007.png").write_bytes(data)
    assert check_clip(clip_at(folder)).unreadable is None
    assert "00001_00007.png" in (check_clip(clip_at(folder), deep=True).unreadable or "")


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_a_whole_video_is_counted(tmp_path, name, deep):
    path = layouts.write_video(tmp_path / name, 20)
    report = next(check_clips([clip_at(path)], deep=deep))
    assert (report.num_frames, report.missing, report.unreadable, report.is_short) == (20, None, None, False)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
@pytest.mark.parametrize("damage", [damage_empty, damage_text, damage_header])
def test_a_video_that_cannot_be_probed_is_unreadable(tmp_path, name, damage, deep):
    path = layouts.write_video(tmp_path / name)
    damage(path)
    assert check_clip(clip_at(path), deep=deep).unreadable is not None


def test_a_video_that_is_cut_off_is_unreadable(tmp_path):
    path = layouts.write_video(tmp_path / "clip.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert "cut off" in (check_clip(clip_at(path)).unreadable or "")


def test_a_video_with_a_hole_is_found_by_decoding_all(tmp_path):
    path = layouts.write_video(tmp_path / "clip.avi", 40)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 4] = bytes(len(data) // 4)
    path.write_bytes(data)
    assert next(check_clips([clip_at(path)])).unreadable is None
    assert next(check_clips([clip_at(path)], deep=True)).unreadable is not None


def test_a_check_leaves_the_filters_of_warnings_as_they_were(tmp_path):
    before = list(warnings.filters)
    list(check_clips([clip_at(layouts.write_video(tmp_path / "clip.avi"))], deep=True))
    assert list(warnings.filters) == before


def test_a_still_is_not_short(tmp_path):
    report = check_clip(clip_at(layouts.write_bytes(tmp_path / "face.jpg", layouts.picture())))
    assert (report.num_frames, report.is_short, report.unreadable) == (1, False, None)


def test_labels_of_frames_are_as_many_as_frames(tmp_path):
    folder = layouts.write_frames(tmp_path / "00001", 16)
    labels = (Emotion.FEAR, None) * 8
    assert check_clip(clip_at(folder, frame_labels=labels)).unreadable is None
    assert "each of its 16 frames, got 15" in (check_clip(clip_at(folder, frame_labels=labels[1:])).unreadable or "")


def test_a_file_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    folder = layouts.write_frames(tmp_path / "00001")

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("training.datasets.clip_check.probe", refuse)
    assert "PermissionError" in (check_clip(clip_at(folder)).unreadable or "")


@pytest.mark.parametrize("num_workers", [1, 3])
def test_reports_come_in_the_order_of_the_clips_and_few_wait(tmp_path, num_workers):
    taken = []

    def clips():
        for number in range(60):
            taken.append(number)
            yield Clip(str(number), tmp_path / str(number), Emotion.FEAR)

    reports = check_clips(clips(), num_workers=num_workers)
    assert next(reports).name == "0"
    assert len(taken) < 20
    assert [report.name for report in reports] == [str(number) for number in range(1, 60)]


def test_labels_of_frames_are_counted_one_by_one():
    clip = clip_at(Path("a"), frame_labels=(Emotion.FEAR, None, Emotion.FEAR, Emotion.ANGER))
    split = Split("some", None, SEVEN_EMOTIONS, (clip,), ())
    counts = training.check.count_classes(split.train, split)
    assert {name: count for name, count in counts.items() if count} == {"fear": 2, "anger": 1}


def test_what_is_left_out_is_said(tmp_path, capsys):
    layouts.write_mafw_lists(tmp_path, extra=[("20045", "anger_disgust")])
    assert check("mafw", tmp_path, "--fold", 1) == 1
    assert "left out: 1 × compound label" in capsys.readouterr().out


@pytest.mark.usefixtures("expect")
def test_a_corpus_of_one_division_is_checked(tmp_path, capsys):
    layouts.write_ferv39k(tmp_path)
    assert check("ferv39k", tmp_path, "--deep", "--workers", 2) == 0
    assert "every frame decoded" in capsys.readouterr().out


def test_everything_found_is_in_the_json_file(root, tmp_path):
    layouts.take_away(root / "Clip/clip_224x224/02522")
    layouts.write_frames(root / "Clip/clip_224x224/00002", 3)
    for number in range(4, 17):
        (root / f"Clip/clip_224x224/00002/00002_{number:05d}.jpg").unlink()
    (root / "Clip/clip_224x224/00001/00001_00016.jpg").write_bytes(b"")
    path = tmp_path / "found.json"
    assert check("dfew", root, "--json", path) == 1
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["corpus"], found["root"], found["as_expected"]) == ("dfew", str(root), False)
    assert [fold["fold"] for fold in found["folds"]] == [1, 2, 3, 4, 5]
    assert found["folds"][0]["class_counts"]["train"]["happiness"] == 1
    assert found["clips"]["examined"] == 9
    assert [clip["name"] for clip in found["clips"]["missing"]] == ["02522"]
    assert [clip["name"] for clip in found["clips"]["unreadable"]] == ["00001"]
    assert [(clip["name"], clip["num_frames"]) for clip in found["clips"]["short"]] == [("00002", 3)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nosuch", "."), "got 'nosuch'"),
        (("dfew", ".", "--fold", 6), "from 1 to 5, got 6"),
        (("dfew", ".", "--fold", 0), "from 1 to 5, got 0"),
        (("afew", ".", "--fold", 1), "which has one division, got fold 1"),
        (("dfew", "no/such/folder"), "there is no folder no/such/folder"),
        (("dfew", ".", "--json", "no/such/folder/found.json"), "there is none at"),
        (("dfew", ".", "--workers", 0), "at least 1, got 0"),
    ],
)
def test_wrong_use_is_named(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert check(*words) == 2
    shown = capsys.readouterr()
    assert "CorpusError: Expected" in shown.err
    assert message in shown.err
    assert not shown.out


@pytest.mark.slow
def test_it_runs_as_a_file(tmp_path):
    command = [sys.executable, "-m", "training.check", "dfew", str(tmp_path / "nowhere")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "CorpusError" in done.stderr


def test_corpora_are_found_by_name():
    assert find_corpus("dfew") is CORPORA["dfew"]
    with pytest.raises(CorpusError, match=r"Expected a corpus among dfew, .*got 'DFEW'"):
        find_corpus("DFEW")


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_says_what_its_release_holds_in_words_that_are_understood(name):
    corpus = CORPORA[name]
    assert corpus.name == name
    folds = {str(fold) for fold in range(1, corpus.num_folds + 1)}
    assert set(corpus.expected) <= folds | {"classes"}
    for fold in folds & set(corpus.expected):
        assert set(corpus.expected[fold]) <= {"train", "test"}
    assert set(corpus.expected.get("classes", {})) <= {str(emotion) for emotion in Emotion}
