import pytest

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import CorpusError
from training.datasets.crema_d import ACTORS, CORPUS, EMOTIONS, FOLDS, SENTENCES, WOMEN

MISSING = {
    "1002": ("TIE_NEU",),
    "1008": tuple(f"WSI_{emotion}" for emotion in EMOTIONS),
    "1009": tuple(f"MTI_{emotion}" for emotion in EMOTIONS),
    "1019": tuple(f"ITH_{emotion}" for emotion in EMOTIONS),
    "1076": ("ITS_NEU",),
}
"""Of every actor, sentence and emotion, what SentenceFilenames.csv of the release does not list."""


def names_of(actor):
    for sentence in SENTENCES:
        for emotion in EMOTIONS:
            if f"{sentence}_{emotion}" not in MISSING.get(actor, ()):
                levels = ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",)
                yield from (f"{actor}_{sentence}_{emotion}_{level}" for level in levels)


def write_release(root, names, *, folder="VideoFlash", suffix=".flv"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "AudioWAV").mkdir(exist_ok=True)
    for name in names:
        (root / folder / f"{name}{suffix}").write_bytes(b"FLV\x01")
    return root


def test_the_folds_hold_as_many_clips_as_expected_and_divide_nobody():
    counts = {actor: len(list(names_of(actor))) for actor in ACTORS}
    assert sum(counts.values()) == sum(CORPUS.expected["classes"].values()) == 7442
    for fold in range(1, 6):
        test = sum(count for actor, count in counts.items() if FOLDS[actor] == fold)
        assert CORPUS.expected[str(fold)] == {"train": 7442 - test, "test": test}
        women = sum(FOLDS[actor] == fold for actor in WOMEN)
        assert (women, sum(place == fold for place in FOLDS.values()) - women) in [(8, 10), (9, 9), (9, 10)]


def test_a_release_is_read_by_its_names(tmp_path):
    actors = [str(actor) for actor in range(1001, 1011)]
    root = write_release(tmp_path, [name for actor in actors for name in names_of(actor)])
    seen = []
    for fold in range(1, 6):
        split = CORPUS.load(root, fold)
        assert {clip.person for clip in split.train}.isdisjoint(clip.person for clip in split.test)
        assert len(split.train) + len(split.test) == 10 * 82 - 13
        seen += [clip.name for clip in split.test]
    assert len(seen) == len(set(seen)) == 10 * 82 - 13
    clips = {clip.name: clip for clip in (*split.train, *split.test)}
    clip = clips["1001_IEO_FEA_HI"]
    assert (clip.label, clip.person) == (Emotion.FEAR, "1001")
    assert clip.source == root / "VideoFlash/1001_IEO_FEA_HI.flv"
    assert split.label_names == ("happiness", "sadness", "neutral", "anger", "disgust", "fear")


def test_a_missing_file_moves_nobody(tmp_path):
    actors = [str(actor) for actor in range(1001, 1011)]
    root = write_release(tmp_path, [f"{actor}_DFA_ANG_XX" for actor in actors])
    before = {clip.name for clip in CORPUS.load(root, 2).test}
    (root / "VideoFlash/1001_DFA_ANG_XX.flv").unlink()
    assert {clip.name for clip in CORPUS.load(root, 2).test} == before


def test_converted_videos_in_a_folder_of_their_own_count_once(tmp_path):
    names = ["1001_DFA_ANG_XX", "1002_DFA_ANG_XX"]
    write_release(tmp_path, names, folder=".", suffix=".mp4")
    write_release(tmp_path, names[:1], folder=".", suffix=".avi")
    split = CORPUS.load(tmp_path, 1)
    assert len(split.train) + len(split.test) == 2
    assert split.left_out == {"same recording in another format": 1}


def test_a_wrong_root_lists_what_was_looked_for(tmp_path):
    with pytest.raises(CorpusError, match=r"1001_DFA_ANG_XX.flv in .*VideoFlash or .*found none"):
        CORPUS.load(tmp_path / "nowhere", 1)
    (tmp_path / "AudioWAV").mkdir()
    with pytest.raises(CorpusError, match="the sound alone"):
        CORPUS.load(tmp_path, 1)


@pytest.mark.parametrize("fold", [None, 0, 6])
def test_a_fold_out_of_range_is_named(tmp_path, fold):
    with pytest.raises(CorpusError, match=f"a fold of CREMA-D from 1 to 5, got {fold}"):
        CORPUS.load(write_release(tmp_path, ["1001_DFA_ANG_XX"]), fold)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1003_DFA_SUR_XX", "Expected an emotion of CREMA-D as third part, got SUR .*NEU neutral"),
        ("1003_XYZ_ANG_XX", "Expected actor, sentence, emotion and level"),
        ("holiday", "Expected actor, sentence, emotion and level"),
        ("1092_DFA_ANG_XX", "Expected an actor from 1001 to 1091, got 1092"),
    ],
)
def test_a_strange_name_is_named(tmp_path, name, message):
    with pytest.raises(CorpusError, match=message):
        CORPUS.load(write_release(tmp_path, ["1001_DFA_ANG_XX", name]), 1)


def test_pointers_of_git_are_no_videos(tmp_path):
    root = write_release(tmp_path, ["1001_DFA_ANG_XX", "1002_DFA_ANG_XX"])
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 120000\n"
    (root / "VideoFlash/1002_DFA_ANG_XX.flv").write_bytes(pointer)
    with pytest.raises(CorpusError, match=r"1002_DFA_ANG_XX.flv and 0 more are git-lfs pointers"):
        CORPUS.load(root, 1)


def test_a_fold_without_clips_is_named(tmp_path):
    with pytest.raises(CorpusError, match="Expected clips to test on in fold 2, found none of the people 1005"):
        CORPUS.load(write_release(tmp_path, ["1001_DFA_ANG_XX"]), 2)
