import dataclasses
from pathlib import Path

import pytest

import training.data.sources
from training.cache.prepared import PreparationMismatchError
from training.config import Crops, TrainConfig
from training.data.classes import OTHER_CLASSES, choose_classes
from training.data.sources import build_data
from training.datasets.corpus import Clip, Corpus, Split

from ..corpora import name_colours

NAMES = ("happiness", "sadness", "neutral")
CLIPS = tuple(Clip(f"clip{number}", Path("unused"), NAMES[number % 3]) for number in range(6))


def chosen(classes, clips=CLIPS):
    return choose_classes(Split("small", None, NAMES, train=(), test=clips), classes)


def test_classes_are_joined_in_the_order_of_the_recipe_and_others_left_out():
    assert chosen({}).test == CLIPS
    split = chosen({"calm": ["neutral"], "glad": ["happiness"]})
    assert [(clip.name, clip.label) for clip in split.test] == [
        ("clip0", "glad"), ("clip2", "calm"), ("clip3", "glad"), ("clip5", "calm"),
    ]  # fmt: skip
    assert (split.label_names, split.left_out) == (("calm", "glad"), {OTHER_CLASSES: 2})
    split = chosen({"moved": ["sadness", "happiness"], "neutral": ["neutral"]})
    assert [clip.label for clip in split.test] == ["moved", "moved", "neutral"] * 2
    assert not split.left_out


def test_frames_of_other_classes_lose_their_label_and_videos_without_a_label_are_left_out():
    videos = tuple(
        Clip(name, Path("unused"), None, frame_labels=labels)
        for name, labels in (("mixed", ("sadness", None, "neutral")), ("neutral", ("neutral", None, None)))
    )
    split = chosen({"sad": ["sadness"], "glad": ["happiness"]}, videos)
    assert [(clip.name, clip.frame_labels) for clip in split.test] == [("mixed", ("sad", None, None))]


@pytest.mark.parametrize("classes", [{"calm": ["calm"]}, {"one": ["neutral"], "other": ["neutral"]}])
def test_classes_that_are_not_there_or_come_twice_are_refused(classes):
    with pytest.raises(ValueError, match="Expected `classes` to name classes of the dataset, each once, got"):
        chosen(classes)


@pytest.fixture
def build(tmp_path, monkeypatch):
    places = name_colours(monkeypatch, tmp_path)
    config = TrainConfig(
        system="frame_resnet",
        data="colours",
        stages=((32, 1, 1.0),),
        batch_size=2,
        learning_rate=0.1,
        validation_share=0.25,
    )

    def build_with(**fields):
        wanted = dataclasses.replace(config, **fields)
        return build_data(wanted, fold=None, **places)

    assert isinstance(training.data.sources.CORPORA["colours"], Corpus)
    return build_with


def test_a_run_of_some_classes_sees_no_others(build):
    """CFC-SP's negative net learns from negative frames alone, and is chosen by them."""
    whole, part = build(), build(classes={"sadness": ["sadness"], "happiness": ["happiness"]})
    assert part.label_names == ("sadness", "happiness")
    assert 0 < len(part.training) < len(whole.training)
    for source in (part.training, part.validation):
        assert source.label_names == ["sadness", "happiness"]
        assert set(source.labels.tolist()) == {0, 1}


def test_a_cache_of_other_crops_than_the_recipe_asks_for_is_refused(build):
    build(crops=Crops("arcface_112", 112))
    with pytest.raises(PreparationMismatchError, match=r"Expected crops of 224 pixels aligned as 'corpus'"):
        build(crops=Crops("corpus", 224))


def test_short_clips_are_not_trained_on_and_counted(build):
    """The test part keeps them, as leaving out hard clips would only make the figures look better."""
    with pytest.raises(ValueError, match="Expected clips with a label, got none"):
        build(minimum_frames=21, select="last")
    data = build(minimum_frames=20, select="test")
    assert len(data.training) == 12
    assert len(data.validation) == 7
    assert "too_short" not in data.record["left_out"]
