import pytest

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import CorpusError
from training.datasets.ferv39k import load

from .. import layouts

LABELS = {
    "Action/Happy/0267": Emotion.HAPPINESS,
    "Action/Angry/0001": Emotion.ANGER,
    "War/Sad/0012": Emotion.SADNESS,
    "War/Fear/0000": Emotion.FEAR,
    "DailyLife/Neutral/0107": Emotion.NEUTRAL,
}
TEST_LABELS = {
    "Action/Happy/0003": Emotion.HAPPINESS,
    "War/Surprise/0005": Emotion.SURPRISE,
    "DailyLife/Disgust/0009": Emotion.DISGUST,
}
OF_DFEW = ["Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear"]
ALPHABETICAL = sorted(OF_DFEW)


def assert_is_the_miniature(split):
    assert {clip.name: clip.label for clip in split.train} == LABELS
    assert {clip.name: clip.label for clip in split.test} == TEST_LABELS
    assert split.label_names == SEVEN_EMOTIONS
    assert (split.corpus, split.fold) == ("ferv39k", None)


def write_train(root, lines, **text):
    return layouts.write_text(root / "4_setups/All_scenes/train_All.csv", lines, **text)


def test_the_first_line_of_the_release_is_a_clip(tmp_path):
    assert_is_the_miniature(load(layouts.write_ferv39k(tmp_path, frames=None)))


@pytest.mark.parametrize(
    "text",
    [{"bom": True}, {"newline": "\r\n", "ending": "\r\n"}, {"ending": ""}, {"ending": "\n\n"}],
    ids=["byte order mark", "CRLF", "no trailing newline", "two trailing newlines"],
)
def test_bytes_around_the_lines_do_not_matter(tmp_path, text):
    layouts.write_ferv39k(tmp_path, frames=None)
    write_train(tmp_path, [f"{name} {name.split('/')[1]}" for name in LABELS], **text)
    assert_is_the_miniature(load(tmp_path))


@pytest.mark.parametrize("style", ["S2D", "Former-DFER", "MAE-DFER"])
@pytest.mark.parametrize("order", [OF_DFEW, ALPHABETICAL], ids=["order of DFEW", "alphabetical"])
def test_numbers_are_read_by_the_folders_of_the_classes(tmp_path, order, style):
    assert_is_the_miniature(load(layouts.write_ferv39k_numbers(tmp_path, order, style=style)))


@pytest.mark.parametrize("style", ["S2D", "Former-DFER"])
def test_numbers_in_no_known_order_are_refused(tmp_path, style):
    layouts.write_ferv39k_numbers(tmp_path, OF_DFEW[::-1], style=style)
    with pytest.raises(CorpusError, match="number of the folder's class"):
        load(tmp_path)


def test_numbers_that_change_their_order_on_the_way_are_refused(tmp_path):
    layouts.write_ferv39k_numbers(tmp_path, OF_DFEW)
    path = tmp_path / "Annotation/train.csv"
    layouts.write_text(path, ["path,id", "Action/Happy/0267,0", "War/Fear/0000,6", "War/Sad/0012,5"])
    with pytest.raises(CorpusError, match=r"the order of DFEW\) in line 4 of .*train.csv, got the number 5"):
        load(tmp_path)


def test_a_name_that_contradicts_its_folder_is_refused(tmp_path):
    layouts.write_ferv39k(tmp_path, frames=None)
    path = write_train(tmp_path, ["Action/Happy/0267 Happy", "Action/Angry/0001 Sad"])
    with pytest.raises(CorpusError, match="the class of its folder, Angry in line 2 of") as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("line", ["Action/Awe/0267 Awe", "Action/Contempt/0267 Contempt", "Action/Happy/0267 Awe"])
def test_a_class_nobody_knows_is_named(tmp_path, line):
    layouts.write_ferv39k(tmp_path, frames=None)
    write_train(tmp_path, [line])
    with pytest.raises(CorpusError, match=r"line 1 of .*got the unknown class '(Awe|Contempt)'"):
        load(tmp_path)


@pytest.mark.parametrize(
    "line", ["Action/Happy/0267", "Happy/0267 Happy", "0267 Happy"], ids=["no label", "no scene", "no folder"]
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line):
    layouts.write_ferv39k(tmp_path, frames=None)
    write_train(tmp_path, ["Action/Happy/0001 Happy", line])
    with pytest.raises(CorpusError, match="line 2 of"):
        load(tmp_path)


def test_every_clip_has_its_scene(tmp_path):
    split = load(layouts.write_ferv39k(tmp_path, frames=None))
    assert [clip.scene for clip in split.train] == ["Action", "Action", "War", "War", "DailyLife"]


def test_some_scenes_can_be_read_alone(tmp_path):
    layouts.write_ferv39k(tmp_path, frames=None)
    split = load(tmp_path, None, scenes=("War", "DailyLife"))
    assert {clip.scene for clip in (*split.train, *split.test)} == {"War", "DailyLife"}
    assert (len(split.train), len(split.test)) == (3, 2)


@pytest.mark.parametrize("scenes", [("War", "Opera"), (), "War"], ids=["unknown", "none", "text"])
def test_scenes_that_are_not_there_are_refused(tmp_path, scenes):
    layouts.write_ferv39k(tmp_path, frames=None)
    with pytest.raises(CorpusError, match="Choose among Action, DailyLife, War"):
        load(tmp_path, None, scenes=scenes)


@pytest.mark.parametrize("folder", ["2_ClipsforFaceCrop", "2_ClipsforFaceCrop/2_ClipsforFaceCrop", "."])
def test_frames_are_found_by_scene_class_and_number(tmp_path, folder):
    split = load(layouts.write_ferv39k(tmp_path, frames=folder, num_frames=1))
    for clip in (*split.train, *split.test):
        assert clip.source == tmp_path / folder / clip.name
        assert clip.source.is_dir()


def test_videos_are_found(tmp_path):
    layouts.write_ferv39k(tmp_path, frames=None)
    path = layouts.write_bytes(tmp_path / "2_ClipsforFaceCrop/War/Sad/0012.mp4", b"video")
    split = load(tmp_path)
    assert split.train[2].source == path
    assert split.train[0].source == tmp_path / "2_ClipsforFaceCrop/Action/Happy/0267"


def test_a_video_beside_a_folder_of_the_same_name_is_refused(tmp_path):
    layouts.write_ferv39k(tmp_path, num_frames=1)
    layouts.write_bytes(tmp_path / "2_ClipsforFaceCrop/War/Sad/0012.mp4", b"video")
    with pytest.raises(CorpusError, match="one source of the clip War/Sad/0012"):
        load(tmp_path)


def test_the_corpus_has_no_folds(tmp_path):
    layouts.write_ferv39k(tmp_path, frames=None)
    with pytest.raises(CorpusError, match="no fold for FERV39k, which has one division, got fold 1"):
        load(tmp_path, 1)


def test_a_missing_split_file_and_a_wrong_root_are_named(tmp_path):
    layouts.write_ferv39k(tmp_path, frames=None)
    (tmp_path / "4_setups/All_scenes/test_All.csv").unlink()
    with pytest.raises(CorpusError, match=r"test_All.csv beside"):
        load(tmp_path)
    with pytest.raises(CorpusError, match=r"Looked for: 4_setups/All_scenes/train_All.csv"):
        load(tmp_path / "4_setups" / "All_scenes")


def test_every_spelling_and_every_kind_of_video_is_known(tmp_path):
    for part, clip in (("train", "Action/Joy/0001"), ("test", "Action/Surprised/0002")):
        layouts.write_text(tmp_path / f"4_setups/All_scenes/{part}_All.csv", [f"{clip} {clip.split('/')[1]}"])
        layouts.write_bytes(tmp_path / "2_ClipsforFaceCrop" / f"{clip}.wmv", b"video")
    split = load(tmp_path)
    assert [clip.label for clip in (*split.train, *split.test)] == ["happiness", "surprise"]
    assert split.train[0].source == tmp_path / "2_ClipsforFaceCrop/Action/Joy/0001.wmv"
