import itertools

import pytest

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import CorpusError
from training.datasets.ravdess import CORPUS, FOLDS, load


def names_of(actor, *, modality="01", channel="01"):
    emotions = range(1, 9) if channel == "01" else range(1, 7)
    for emotion, intensity, statement, repetition in itertools.product(emotions, (1, 2), (1, 2), (1, 2)):
        if (emotion, intensity) != (1, 2):  # neutral is never strong
            yield f"{modality}-{channel}-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"


def write_release(root, actors=range(1, 25), *, modalities=("01", "02"), channels=("01", "02")):
    for actor, modality, channel in itertools.product(actors, modalities, channels):
        if (actor, channel) == (18, "02"):  # she did not sing
            continue
        folder = root / f"Actor_{actor:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in names_of(actor, modality=modality, channel=channel):
            (folder / f"{name}.mp4").touch()
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("ravdess"))


def test_the_release_gives_the_expected_counts(release):
    seen = set()
    for fold in range(1, 6):
        split = CORPUS.load(release, fold)
        assert CORPUS.expected[str(fold)] == {"train": len(split.train), "test": len(split.test)}
        assert {clip.person for clip in split.train}.isdisjoint(clip.person for clip in split.test)
        seen |= {clip.name for clip in split.test}
    clips = (*split.train, *split.test)
    assert len(seen) == len(clips) == 1248
    counts = {emotion.value: sum(clip.label is emotion for clip in clips) for emotion in SEVEN_EMOTIONS}
    assert counts == CORPUS.expected["classes"]
    assert split.left_out == {
        "song": 2 * 1012,
        "calm, which is no class here": 2 * 192,
        "same recording without sound": 1248,
    }


def test_every_fold_has_men_and_women_alike():
    for fold in range(1, 6):
        men = sum(FOLDS[actor] == fold for actor in FOLDS if int(actor) % 2)
        women = sum(FOLDS[actor] == fold for actor in FOLDS if not int(actor) % 2)
        assert (men, women) in [(3, 2), (2, 3), (2, 2)]


def test_fields_are_read_as_the_authors_number_them(release):
    split = CORPUS.load(release, 1)
    clips = {clip.name: clip for clip in (*split.train, *split.test)}
    codes = {"01": "neutral", "03": "happiness", "04": "sadness", "05": "anger", "06": "fear", "07": "disgust"}
    for code, emotion in (codes | {"08": "surprise"}).items():
        clip = clips[f"01-01-{code}-01-02-01-07"]
        assert (clip.label, clip.person) == (Emotion(emotion), "07")
        assert clip.source == release / f"Actor_07/{clip.name}.mp4"


def test_a_recording_without_sound_stands_in_where_the_full_one_is_missing(tmp_path):
    root = write_release(tmp_path, range(1, 11), channels=("01",))
    (root / "Actor_01/01-01-05-02-01-01-01.mp4").unlink()
    split = CORPUS.load(root, 1)
    names = [clip.name for clip in (*split.train, *split.test)]
    assert "02-01-05-02-01-01-01" in names
    assert len(names) == 520
    assert split.left_out["same recording without sound"] == 519


def test_songs_are_read_when_asked_for(release):
    split = load(release, 1, with_songs=True)
    songs = [clip for clip in (*split.train, *split.test) if clip.scene == "song"]
    assert len(songs) == 23 * 36
    assert "song" not in split.left_out
    names = [clip.name for clip in (*split.train, *split.test)]
    assert len(names) == len(set(names))


def test_copies_in_another_folder_count_once(tmp_path):
    root = write_release(tmp_path, range(1, 11), modalities=("01",), channels=("01",))
    write_release(root / "again", [1], modalities=("01",), channels=("01",))
    split = CORPUS.load(root, 1)
    assert len(split.train) + len(split.test) == 520
    assert split.left_out["second copy of a file"] == 52


def test_hidden_twins_and_sounds_are_no_videos(tmp_path):
    root = write_release(tmp_path, range(1, 11), modalities=("01",), channels=("01",))
    (root / "Actor_01/._01-01-01-01-01-01-01.mp4").touch()
    (root / "Actor_01/03-01-01-01-01-01-01.wav").touch()
    assert len(CORPUS.load(root, 1).train) == 8 * 52


def test_a_wrong_root_lists_what_was_looked_for(tmp_path):
    with pytest.raises(CorpusError, match=r"Actor_01/01-01-03-01-01-01-01.mp4 under .*found none"):
        CORPUS.load(tmp_path, 1)
    with pytest.raises(CorpusError, match="found none"):
        CORPUS.load(tmp_path / "nowhere", 1)


@pytest.mark.parametrize("fold", [None, 0, 6])
def test_a_fold_out_of_range_is_named(release, fold):
    with pytest.raises(CorpusError, match=f"a fold of RAVDESS from 1 to 5, got {fold}"):
        CORPUS.load(release, fold)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("01-01-09-01-01-01-01", "Expected an emotion of RAVDESS.*got 09 in .*03 happiness"),
        ("01-01-03-01-01-01-25", "Expected an actor from 01 to 24 as last number, got 25"),
        ("01-01-03-01-01-01", "Expected seven numbers of two digits"),
        ("04-01-03-01-01-01-01", "Expected seven numbers of two digits"),
    ],
)
def test_a_strange_name_is_named(tmp_path, name, message):
    root = write_release(tmp_path, [1], modalities=("01",), channels=("01",))
    (root / f"Actor_01/{name}.mp4").touch()
    with pytest.raises(CorpusError, match=message):
        CORPUS.load(root, 1)
