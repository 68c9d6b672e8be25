import dataclasses
from pathlib import Path

import pytest
import torch

import dfer_hf
from dfer_hf.taxonomy import Emotion
from training.cache.prepared import PreparedClips
from training.config import Augmentation, Normalisation, Sampling
from training.data.clip_dataset import ClipSource, Sample, find_prepared, list_samples
from training.data.protocols import FrameSource
from training.data.sources import build_processor, build_test_source
from training.datasets.corpus import Clip
from training.evaluation.predict import predict_frames

from ..corpora import LABELS, make_corpus

NOTHING = Augmentation(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip_chance=0.0)


@pytest.fixture
def colours(tmp_path):
    corpus, cache = make_corpus(tmp_path)
    return corpus.load(tmp_path, None), PreparedClips(cache)


def source_of(colours, *, sampling=None, augmentation=NOTHING, normalisation=None, part="train", balance=0.0):
    split, prepared = colours
    sampling = sampling or Sampling(num_segments=4, frames_per_segment=1)
    processor = build_processor(prepared.record, normalisation or Normalisation(), sampling)
    samples = list_samples(getattr(split, part), split.label_names)
    return ClipSource(
        samples, split.label_names, prepared, processor, sampling=sampling, augmentation=augmentation, balance=balance
    )


def frame_numbers(pixel_values, labels):
    """Read which frames a batch holds from the brightness of the channel after the class's."""
    channels = (labels + 1) % 3
    return [
        (clip[:, channel].mean(dim=(1, 2)) * 255).round().int().tolist()
        for clip, channel in zip(pixel_values, channels, strict=True)
    ]


def test_testing_sees_the_middle_frames_and_training_random_ones(colours):
    source = source_of(colours)
    batch = source.batch(torch.arange(3), 112)
    assert batch["pixel_values_videos"].shape == (3, 4, 3, 112, 112)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert frame_numbers(batch["pixel_values_videos"], batch["labels"]) == [[2, 7, 12, 17]] * 3

    generator = torch.Generator().manual_seed(0)
    seen = [source.training_batch(torch.tensor([1]), 112, generator) for _ in range(8)]
    numbers = {tuple(frame_numbers(batch["pixel_values_videos"], batch["labels"])[0]) for batch in seen}
    assert len(numbers) > 3
    assert all(5 * segment <= frames[segment] < 5 * segment + 5 for frames in numbers for segment in range(4))


def test_a_training_batch_follows_from_its_generator(colours):
    source = source_of(colours, augmentation=Augmentation(brightness=0.5))
    first, second, other = (
        source.training_batch(torch.arange(4), 48, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first["pixel_values_videos"], second["pixel_values_videos"])
    assert not torch.equal(first["pixel_values_videos"], other["pixel_values_videos"])


def test_jitter_moves_frames_in_training_only(colours):
    source = source_of(colours, sampling=Sampling(num_segments=4, frames_per_segment=1, jitter_frames=3))
    batch = source.batch(torch.tensor([0]), 112)
    assert frame_numbers(batch["pixel_values_videos"], batch["labels"]) == [[2, 7, 12, 17]]
    drawn = source.training_batch(torch.tensor([0]), 112, torch.Generator().manual_seed(3))
    numbers = frame_numbers(drawn["pixel_values_videos"], drawn["labels"])[0]
    assert all(0 <= number - start < 3 for number, start in zip(numbers, [0, 5, 10, 15], strict=True))


@pytest.mark.parametrize("greyscale", [False, True])
def test_training_and_testing_normalise_alike(colours, greyscale):
    normalisation = Normalisation(mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), greyscale=greyscale)
    source = source_of(colours, sampling=Sampling(num_segments=20, frames_per_segment=1), normalisation=normalisation)
    tested = source.batch(torch.arange(3), 112)["pixel_values_videos"]
    trained = source.training_batch(torch.arange(3), 112, torch.Generator())["pixel_values_videos"]
    torch.testing.assert_close(trained, tested, atol=0.02 if greyscale else 1e-5, rtol=0)
    assert (trained[0, 0, 0] - trained[0, 0, 1]).abs().max() > 0.1


def test_weights_of_sampling_even_classes_out(colours):
    split, prepared = colours
    # Three of class 0, two of each other.
    split = dataclasses.replace(split, train=split.train[:7])
    source = source_of((split, prepared), balance=1.0)
    by_class = [source.sampling_weights[source.labels == label].sum().item() for label in range(3)]
    assert by_class == pytest.approx([by_class[0]] * 3)


def test_labelled_frames_are_samples_of_one_frame(colours):
    _, prepared = colours
    clip = Clip("train/000", prepared.root, None, frame_labels=(None, Emotion.SADNESS, *[None] * 17, Emotion.NEUTRAL))
    found, left_out = find_prepared([clip], prepared)
    samples = list_samples(found, LABELS)
    assert samples == [Sample("train/000", 1, 1), Sample("train/000", 2, 19)]
    assert not left_out
    sampling = Sampling()
    source = ClipSource(
        samples, LABELS, prepared, build_processor(prepared.record, Normalisation(), sampling),
        sampling=sampling, augmentation=NOTHING,
    )  # fmt: skip
    assert source.names == ["train/000#1", "train/000#19"]
    batch = source.batch(torch.arange(2), 112)
    assert batch["pixel_values_videos"].shape == (2, 1, 3, 112, 112)
    assert (batch["pixel_values_videos"][:, 0, 1].mean(dim=(1, 2)) * 255).round().tolist() == [1, 19]


def test_clips_that_failed_are_counted_and_clips_never_prepared_are_refused(tmp_path):
    corpus, cache = make_corpus(tmp_path, missing=("train/001",))
    split, prepared = corpus.load(tmp_path, None), PreparedClips(cache)
    with pytest.raises(ValueError, match=r"Expected clip 'train/001' in the cache, but it was never prepared"):
        find_prepared(split.train, prepared)
    prepared.errors["train/001"] = "NoFaceFoundError: no face in 20 frames"
    found, left_out = find_prepared(split.train, prepared)
    assert len(list_samples(found, LABELS)) == 11
    assert left_out == {"NoFaceFoundError": 1}


def system(name):
    model_class = dfer_hf.systems()[name]
    return model_class(model_class.config_class.from_preset("tiny"))


def test_a_checkpoint_is_measured_on_what_its_processor_wants(colours):
    split, prepared = colours
    processor = build_processor(prepared.record, Normalisation(), Sampling())
    source = build_test_source(split.test, LABELS, prepared, processor, system("aen"))
    assert source.names == [clip.name for clip in split.test]
    batch = source.batch(torch.tensor([0]), 112)
    assert frame_numbers(batch["pixel_values_videos"], batch["labels"])[0][:4] == [1, 2, 3, 4]
    processor = dfer_hf.DferVideoProcessor(detector="corpus", alignment="corpus")
    with pytest.raises(ValueError, match="corpus"):
        build_test_source(split.test, LABELS, prepared, processor, system("aen"))


def labelled_video(num_labels=20):
    labels = [LABELS[frame % 3] if frame % 4 else None for frame in range(num_labels)]
    return Clip("test/000", Path("unused"), None, frame_labels=tuple(labels))


def test_videos_labelled_frame_by_frame_are_seen_whole_or_in_windows(colours):
    _, prepared = colours
    processor = build_processor(prepared.record, Normalisation(), Sampling())
    whole = build_test_source([labelled_video()], LABELS, prepared, processor, system("frame_resnet"))
    assert isinstance(whole, FrameSource)
    assert len(whole) == 1
    assert whole.batch(torch.tensor([0]), 32)["pixel_values_videos"].shape == (1, 20, 3, 32, 32)
    assert whole.frame_labels[0].tolist() == [-1 if frame % 4 == 0 else frame % 3 for frame in range(20)]

    cut = build_test_source([labelled_video()], LABELS, prepared, processor, system("aen"))
    assert [frames.tolist() for frames in cut.window_frames] == [
        list(range(start, start + 4)) for start in range(0, 20, 4)
    ]
    assert cut.batch(torch.tensor([1, 3]), 32)["pixel_values_videos"].shape == (2, 4, 3, 32, 32)
    predictions = predict_frames(system("aen"), cut, batch_size=2)
    assert len(predictions) == 15
    with pytest.raises(ValueError, match=r"Expected 19 frames of 'test/000' in the cache, .* got 20"):
        build_test_source([labelled_video(19)], LABELS, prepared, processor, system("aen"))
