import numpy as np
import pytest
import torch

from training.data.movable_faces import NEUTRAL
from training.data.moving_mix import MovingMix, in_grey
from training.datasets.face_bank import FaceBank

from .test_moving_stills import drawn_face


def make_bank(count, side, channels, prefix, seed=0):
    """Faces of every class, that are noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 7
    matrix = np.array([[side / 112, 0, 0], [0, side / 112, 0]], dtype=np.float32)
    return FaceBank(
        images=generator.integers(0, 256, (count, channels, side, side), dtype=np.uint8),
        crop_to_image=np.tile(matrix, (count, 1, 1)),
        labels=labels,
        landmarks=np.tile(drawn_face() * side / 112, (count, 1, 1)).astype(np.float32),
        votes=np.eye(7, dtype=np.float32)[labels],
        blendshapes=np.full((count, 52), np.nan, np.float32),
        names=np.array([f"{prefix}{number}_a.jpg" for number in range(count)]),
    )


@pytest.fixture(scope="module")
def mix():
    banks = [make_bank(14, 48, 1, "a"), make_bank(14, 64, 3, "b"), make_bank(7, 64, 3, "c")]
    return MovingMix.of_banks(banks, shares=[0.6, 0.3, 0.1], balance=0.5)


def test_banks_of_one_picture_size_meet_and_others_do_not(mix):
    assert [len(source) for source in mix.sources] == [14, 21]
    assert len(mix) == len(mix.labels) == 35
    per_source = [mix.sampling_weights[:14].sum().item(), mix.sampling_weights[14:].sum().item()]
    assert per_source == pytest.approx([0.6, 0.4])


def test_a_clip_is_the_one_that_its_own_dataset_makes(mix):
    indices = torch.tensor([20, 3, 34, 0])
    batch = mix.training_batch(indices, 32, torch.Generator().manual_seed(0))
    assert batch["pixel_values_videos"].shape == (4, 16, 3, 32, 32)
    assert torch.equal(batch["labels"].argmax(dim=1), mix.labels[indices])
    measured = mix.batch(indices, 32)
    assert torch.equal(measured["labels"], mix.labels[indices])
    alone = mix.sources[1].batch(torch.tensor([6]), 32)
    assert torch.equal(measured["pixel_values_videos"][0], alone["pixel_values_videos"][0])
    assert (measured["frame_labels"] < 7).all()


def test_colours_become_grey_as_the_processor_makes_them():
    bank = make_bank(2, 16, 3, "a")
    luma = (bank.images * np.array([0.299, 0.587, 0.114])[None, :, None, None]).sum(axis=1)
    assert np.abs(in_grey(bank).images[:, 0] - luma).max() <= 0.51
    grey = make_bank(2, 16, 1, "a")
    assert in_grey(grey) is grey


def test_clips_to_measure_by_are_evenly_spaced():
    banks = [make_bank(28, 48, 1, "a")]
    mix = MovingMix.of_banks(banks, shares=[1.0], noise_share=0.5, most_clips=4)
    assert len(mix) == 4
    off_target = mix.batch(torch.arange(4), 32)["off_target"]
    assert off_target[mix.labels != NEUTRAL].float().mean().item() == pytest.approx(0.5)
