import json
import re
import shutil
import sys
import tarfile
import types

import numpy as np
import PIL.Image
import pytest
import skimage.data

import training.cli
from dfer_hf.faces.alignment import align
from dfer_hf.faces.crop_stream import WORKING_SIDE, crop_faces
from dfer_hf.faces.low_light import brighten
from dfer_hf.taxonomy import Emotion
from dfer_hf.video import read_frames
from tests.shared_data import SHARED_DATA
from training import prepare
from training.cache import face_clips
from training.cache.face_clips import FaceCropper
from training.cache.prepared import PreparationMismatchError, PreparedClips
from training.cache.shards import CacheError
from training.datasets.corpus import Corpus, CorpusError, Split
from training.datasets.folds import check_fold

from .marked_faces import ANNA, BERT, MARKED, clip_of, content, folder_clips, picture, run, write_folder, write_picture

SHARED_CLIP = SHARED_DATA / "clips" / "single_face.mp4"


def prepare_one(clip, output, cropper=MARKED):
    """Read all crops of a clip, and its details in the shard."""
    report = run([clip], output, cropper)
    assert not report.failures
    prepared = PreparedClips(output)
    with tarfile.open(output / "shard-00000.tar") as shard:
        details = json.load(shard.extractfile(shard.getnames()[0]))
    return prepared.read(clip.name, range(prepared.num_frames(clip.name))), details


def numbers(crops):
    """Read the numbers of the frames from their crops."""
    return crops[:, 56, 56, 1].tolist()


def test_every_frame_of_a_folder_has_its_crop(tmp_path):
    pictures = [picture(number, (ANNA, 10 + number, 8, 40)) for number in range(20)]
    clip = clip_of(write_folder(tmp_path / "clip", pictures))
    crops, details = prepare_one(clip, tmp_path / "cache")
    assert numbers(crops) == list(range(20))
    assert (crops[:, 8:-8, 8:-8, 0] == ANNA).all()
    assert details["frame_indices"] == list(range(20))
    assert details["seconds"] == pytest.approx([number / 25 for number in range(20)])
    assert all(details["has_face"])


def test_crops_of_a_video_are_those_of_the_one_stream(tmp_path, clips, detector):
    path = clips / "face.webm"
    crops, details = prepare_one(clip_of(path), tmp_path / "cache", FaceCropper(detector=detector))
    theirs = list(crop_faces(read_frames(path, max_side=WORKING_SIDE), detector))
    assert len(crops) == 24
    assert details["seconds"] == [frame.time_seconds for frame in theirs]
    np.testing.assert_array_equal(crops, np.stack([frame.faces[0].crop for frame in theirs]))


def test_a_still_is_a_clip_of_one_frame(tmp_path):
    source = write_picture(tmp_path / "still.png", picture(77, (ANNA, 10, 8, 40)))
    crops, details = prepare_one(clip_of(source), tmp_path / "cache")
    assert crops.shape == (1, 112, 112, 3)
    assert numbers(crops) == [77]
    assert details["seconds"] == [0.0]


def test_a_frame_without_the_face_shows_the_nearest_one(tmp_path):
    pictures = [picture(number, *([] if 20 <= number < 50 else [(ANNA, 10, 8, 40)])) for number in range(70)]
    crops, details = prepare_one(clip_of(write_folder(tmp_path / "clip", pictures)), tmp_path / "cache")
    seen = [index for index, has_face in enumerate(details["has_face"]) if has_face]
    assert len(crops) == 70
    assert set(range(17)) | set(range(53, 70)) <= set(seen)
    assert 20 <= 70 - len(seen) <= 36  # where faces are lost and found again is known to an interval of detection
    for index in set(range(70)) - set(seen):
        nearest = min(seen, key=lambda other, index=index: abs(other - index))
        np.testing.assert_array_equal(crops[index], crops[nearest])
    assert PreparedClips(tmp_path / "cache").num_with_face("clip") == len(seen)


def test_the_face_seen_longest_is_the_clips(tmp_path):
    pictures = [
        picture(number, (ANNA, 2, 8, 24), *([(BERT, 40, 8, 48)] if number < 12 else [])) for number in range(30)
    ]
    crops, _ = prepare_one(clip_of(write_folder(tmp_path / "clip", pictures)), tmp_path / "cache")
    assert (crops[:, 56, 56, 0] == ANNA).all()
    assert numbers(crops) == list(range(30))


def test_of_faces_seen_equally_long_the_larger_is_the_clips(tmp_path):
    faces = [(ANNA, 2, 8, 24), (BERT, 40, 8, 48)]
    crops, _ = prepare_one(clip_of(write_folder(tmp_path / "clip", [picture(1, *faces)] * 5)), tmp_path / "cache")
    assert (crops[:, 56, 56, 0] == BERT).all()


@pytest.mark.parametrize("side", [112, 224])
def test_crops_of_the_corpus_are_only_resized(tmp_path, side):
    rgb = skimage.data.astronaut()
    sizes = [(224, 224), (112, 112), (90, 130)]
    pictures = [np.asarray(PIL.Image.fromarray(rgb).resize(size)) for size in sizes]
    clip = clip_of(write_folder(tmp_path / "clip", pictures))
    crops, details = prepare_one(clip, tmp_path / "cache", FaceCropper("corpus", detector=None, crop_size=side))
    for crop, shown in zip(crops, pictures, strict=True):
        plain = np.asarray(PIL.Image.fromarray(shown).resize((side, side), PIL.Image.Resampling.BILINEAR))
        assert abs(crop.astype(int) - plain).max() <= 1
    record = PreparedClips(tmp_path / "cache").record
    assert (record.detector, record.alignment, record.crop_size) == ("corpus", "corpus", side)
    assert all(details["has_face"])


def test_aligned_crops_have_one_size():
    with pytest.raises(ValueError, match=r"Expected crops of 112 pixels with the alignment arcface_112.*got 224"):
        FaceCropper(crop_size=224)


def test_dark_faces_are_brightened_where_asked(tmp_path):
    source = write_picture(tmp_path / "dark.png", skimage.data.astronaut()[:200, 120:320] // 8)
    plain, _ = prepare_one(clip_of(source), tmp_path / "plain", FaceCropper("corpus"))
    bright, _ = prepare_one(clip_of(source), tmp_path / "bright", FaceCropper("corpus", low_light=True))
    np.testing.assert_array_equal(bright[0], brighten(plain[0]))
    assert bright.mean() > 2 * plain.mean()
    assert PreparedClips(tmp_path / "bright").record.low_light


def test_crops_that_do_not_fit_into_memory_wait_on_disk(tmp_path, monkeypatch):
    clips = folder_clips(tmp_path, 2, num_frames=8)
    run(clips, tmp_path / "memory")
    monkeypatch.setattr(face_clips, "_CROPS_IN_MEMORY_BYTES", 50_000)
    run(clips, tmp_path / "disk")
    assert content(tmp_path / "disk") == content(tmp_path / "memory")


def test_a_clip_that_fails_is_a_row_with_the_reason(tmp_path, clips):
    good = folder_clips(tmp_path, 2)
    broken = write_folder(tmp_path / "broken", [picture(1, (ANNA, 10, 8, 40))] * 3)
    (broken / "broken_00001.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    mixed = write_folder(tmp_path / "mixed", [picture(1, size=(60, 90)), picture(1, size=(60, 80))])
    (tmp_path / "hollow").mkdir()
    bad = {
        "faceless": (write_folder(tmp_path / "faceless", [picture()] * 3), r"NoFaceFoundError.*3 frames"),
        "broken": (broken, r"\w+Error.*broken_00001\.png"),
        "mixed": (mixed, r"CorpusError.*90×60.*80×60"),
        "hollow": (tmp_path / "hollow", "CorpusError.*hollow"),
        "absent": (tmp_path / "absent.mp4", r"VideoNotFoundError.*absent\.mp4"),
        "text": (clips / "text.mp4", "NotAVideoError"),
        "empty": (clips / "empty.mp4", "EmptyVideoError"),
    }
    asked = [good[0], *(clip_of(source, name) for name, (source, _) in bad.items()), good[1]]
    report = run(asked, tmp_path / "cache")
    prepared = PreparedClips(tmp_path / "cache")
    assert prepared.names == [clip.name for clip in good]
    assert prepared.errors == report.failures
    assert list(report.failures) == list(bad)
    for name, (_, pattern) in bad.items():
        assert "\n" not in prepared.errors[name]
        assert re.match(pattern, prepared.errors[name]), prepared.errors[name]
    assert (report.num_prepared, report.num_new) == (2, 2)


def test_a_clip_that_failed_is_tried_again_only_when_asked(tmp_path):
    (clip,) = folder_clips(tmp_path, 1)
    shutil.move(clip.source, tmp_path / "away")
    assert clip.name in run([clip], tmp_path / "cache").failures
    shutil.move(tmp_path / "away", clip.source)
    assert clip.name in run([clip], tmp_path / "cache").failures
    report = run([clip], tmp_path / "cache", retry=True)
    assert not report.failures
    assert PreparedClips(tmp_path / "cache").num_frames(clip.name) == 4


def test_oddities_of_a_source_are_told_and_kept(tmp_path, clips, detector):
    labels = (Emotion.ANGER,) * 30
    asked = [clip_of(clips / "truncated.webm"), clip_of(clips / "short.webm", frame_labels=labels)]
    report = run(asked, tmp_path / "cache", FaceCropper(detector=detector))
    assert not report.failures
    assert "truncated.webm" in report.warnings["truncated.webm"][0]
    assert "30 frames" in report.warnings["short.webm"][0]
    with tarfile.open(tmp_path / "cache" / "shard-00000.tar") as shard:
        kept = [json.load(shard.extractfile(name)) for name in shard.getnames() if name.endswith("json")]
    assert {details["name"]: tuple(details["warnings"]) for details in kept} == report.warnings


def test_going_on_in_another_way_is_refused(tmp_path):
    clips = folder_clips(tmp_path, 1)
    run(clips, tmp_path / "cache")
    before = content(tmp_path / "cache")
    with pytest.raises(PreparationMismatchError, match=r"alignment 'arcface_112'.*alignment 'corpus'.*--output"):
        run(clips, tmp_path / "cache", FaceCropper("corpus"))
    assert content(tmp_path / "cache") == before


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "shard-00000.tar").write_bytes(b"precious")
    with pytest.raises(CacheError, match="Give another --output"):
        run([], tmp_path)
    assert (tmp_path / "shard-00000.tar").read_bytes() == b"precious"


def test_clips_of_one_name_are_refused(tmp_path):
    clips = [clip_of(tmp_path / "a", "twin"), clip_of(tmp_path / "b", "twin")]
    with pytest.raises(CacheError, match="'twin'"):
        run(clips, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_disk_use_is_told_and_too_little_room_refused(tmp_path, clips, capsys, monkeypatch):
    asked = [*folder_clips(tmp_path, 3), clip_of(clips / "face.webm"), clip_of(clips / "absent.mp4")]
    assert prepare.estimate_frames(asked) == 4 + 5 + 6 + 24
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1_000_000))
    with pytest.raises(prepare.DiskFullError, match=r"0\.00 GB free|got 0\.00"):
        run(asked, tmp_path / "cache")
    assert "about 39 frames" in capsys.readouterr().err


def made_up_corpus(clips, num_folds=1, load=None):
    def load_halves(_root, fold):
        check_fold("Made Up", fold, num_folds)
        train = clips[:2] if fold in (None, 1) else clips[1:3]
        return Split("made_up", fold, tuple(Emotion), tuple(train), tuple(clips[3:]))

    return Corpus("made_up", "Made Up", load or load_halves, num_folds, {}, "this test")


def test_clips_of_all_folds_are_listed_once_each(tmp_path):
    clips = [clip_of(tmp_path / str(index)) for index in range(5)]
    corpus = made_up_corpus(clips, num_folds=2)
    assert prepare.corpus_clips(corpus, tmp_path) == [clips[index] for index in (0, 1, 3, 4, 2)]
    assert prepare.corpus_clips(corpus, tmp_path, 2) == clips[1:]
    with pytest.raises(CorpusError, match="of Made Up from 1 to 2, got 3"):
        prepare.corpus_clips(corpus, tmp_path, 3)


def test_folds_that_do_not_agree_are_refused(tmp_path):
    def load(_root, fold):
        return Split("made_up", fold, tuple(Emotion), (clip_of(tmp_path / str(fold), "same"),), ())

    with pytest.raises(CorpusError, match="one source of 'same'"):
        prepare.corpus_clips(made_up_corpus([], 2, load), tmp_path)


@pytest.fixture
def command(monkeypatch):
    """Runs the command on a dataset that replaces all others."""

    def call(corpus, *words):
        corpora = types.ModuleType("training.datasets.registry")
        corpora.find_corpus = lambda _name: corpus
        monkeypatch.setitem(sys.modules, "training.datasets.registry", corpora)
        return training.cli.main(["prepare", "made_up", *map(str, words)])

    return call


def test_the_command_prepares_and_says_what_failed(tmp_path, command, capsys):
    clips = [*folder_clips(tmp_path / "root", 2), clip_of(tmp_path / "root" / "absent")]
    words = (tmp_path / "root", "--output", tmp_path / "cache", "--alignment", "corpus", "--low-light")
    assert command(made_up_corpus(clips[1:], load=None), *words) == 0
    printed = capsys.readouterr().out
    assert "1 clips" in printed
    assert "absent: VideoNotFoundError" in printed
    prepared = PreparedClips(tmp_path / "cache")
    assert (prepared.record.corpus, prepared.record.low_light) == ("made_up", True)


def test_the_command_names_what_is_wrong(tmp_path, command, capsys):
    def load(root, _fold):
        raise CorpusError(f"Expected labels.csv in {root}, found none.")

    assert command(made_up_corpus([], load=load), tmp_path / "wrong", "--output", tmp_path / "cache") == 1
    assert "CorpusError: Expected labels.csv" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command(made_up_corpus([]), tmp_path, "--output", tmp_path / "cache", "--processes", 0)
    assert "--processes: expected a whole number of 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_real_face_is_found_and_upright(tmp_path):
    if not SHARED_CLIP.is_file():
        pytest.skip(f"needs {SHARED_CLIP}, which is not part of the repository")
    crops, details = prepare_one(clip_of(SHARED_CLIP), tmp_path / "cache", FaceCropper())
    assert len(crops) == len(list(read_frames(SHARED_CLIP)))
    assert np.mean(details["has_face"]) > 0.9
    (found,) = FaceCropper().detector.detect([crops[len(crops) // 2]])
    moved = align(crops[len(crops) // 2], found[0].points).astype(int) - crops[len(crops) // 2]
    # Aligning an aligned face changes little.
    assert abs(moved).mean() < 25
