import numpy as np
import pytest
import torch

from training.data import transforms
from training.data.clips_from_stills import StillClips, smooth_walk
from training.data.sources import NEUTRAL
from training.data.still_dataset import StillSource
from training.datasets.ferplus import load_ferplus


@pytest.fixture(scope="module")
def stills(corpus):
    return StillSource(load_ferplus(corpus, "train"))


@pytest.fixture(scope="module")
def half_clips(stills):
    return StillClips(stills, neutral_label=NEUTRAL, off_target_share=0.5)


def every_still(stills, times=4):
    return torch.arange(len(stills)).repeat(times)


@pytest.mark.parametrize(("share", "frames"), [(0.0, 0), (0.25, 4), (0.5, 8), (0.75, 12)])
def test_the_share_of_frames_off_target_is_exact(stills, share, frames):
    clips = StillClips(stills, neutral_label=NEUTRAL, off_target_share=share)
    _, _, off_target = clips.script(every_still(stills), torch.Generator().manual_seed(0))
    assert off_target.sum(dim=1).tolist() == [frames] * len(off_target)


def test_without_a_share_clips_have_different_ones_and_most_stays_on_target(stills):
    clips = StillClips(stills, neutral_label=NEUTRAL)
    _, _, off_target = clips.script(every_still(stills), torch.Generator().manual_seed(0))
    counts = off_target.sum(dim=1)
    assert counts.unique().tolist() == [0, 4, 8]
    assert off_target.any(dim=0).all()


def test_frames_off_target_never_show_the_clips_label(stills, half_clips):
    indices = every_still(stills, times=20)
    shown, covered, off_target = half_clips.script(indices, torch.Generator().manual_seed(0))
    label = stills.labels[indices][:, None]
    assert (shown[~off_target] == indices[:, None].expand_as(shown)[~off_target]).all()
    bare = off_target & ~covered
    assert bare.any()
    assert (stills.labels[shown] != label)[bare].all()
    assert not covered[~off_target].any()


def test_neutral_clips_are_only_covered_and_others_interrupted_in_every_way(stills, half_clips):
    indices = every_still(stills, times=20)
    shown, covered, off_target = half_clips.script(indices, torch.Generator().manual_seed(0))
    neutral = stills.labels[indices] == NEUTRAL
    assert torch.equal(covered[neutral], off_target[neutral])
    assert (shown[neutral] == indices[neutral][:, None]).all()
    labels = stills.labels[shown][~neutral]
    bare = (off_target & ~covered)[~neutral]
    assert covered[~neutral].any()
    assert (labels[bare] == NEUTRAL).any()
    assert (labels[bare] != NEUTRAL).any()


def test_the_same_clips_come_every_time(half_clips):
    first = half_clips.batch(torch.tensor([0, 5, 9]), 32)
    second = half_clips.batch(torch.tensor([9, 5]), 32)
    for name, value in second.items():
        assert torch.equal(value, first[name][[2, 1]]), name
    assert first["pixel_values_videos"].shape == (3, 16, 3, 32, 32)
    assert first["labels"].tolist() == half_clips.labels[[0, 5, 9]].tolist()
    assert first["off_target"].sum(dim=1).tolist() == [8, 8, 8]


def test_training_clips_differ_and_carry_the_votes(stills, half_clips):
    generator = torch.Generator().manual_seed(0)
    indices = torch.tensor([3, 4])
    first, second = (half_clips.training_batch(indices, 32, generator) for _ in range(2))
    assert not torch.equal(first["pixel_values_videos"], second["pixel_values_videos"])
    torch.testing.assert_close(first["labels"], stills.votes[indices])
    values = first["pixel_values_videos"]
    assert values.shape == (2, 16, 3, 32, 32)
    assert values.min() >= -2
    assert values.max() <= 2
    assert torch.equal(values[:, :, 0], values[:, :, 1])


def test_covered_frames_hide_the_face():
    clips = torch.rand(3, 2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    hidden = transforms.cover_most(clips, torch.Generator().manual_seed(1))
    changed = (hidden != clips).float()
    assert (changed[:, :, :, 12:28, 12:28] == 1).all()


def test_a_walk_passes_its_keys():
    keys = torch.randn(2, 4, 3, 3)
    walk = smooth_walk(keys, 16)
    assert walk.shape == (2, 16, 3, 3)
    torch.testing.assert_close(walk[:, [0, 5, 10, 15]], keys)
    torch.testing.assert_close(walk[:, 1], 0.8 * keys[:, 0] + 0.2 * keys[:, 1])


def test_stills_to_measure_with_are_inferences_crops(stills):
    batch = stills.batch(torch.tensor([0, 8]), 112)
    views = transforms.warp(stills.images[[0, 8]].float() / 255, stills.crop_to_image[[0, 8]], 112)
    assert batch["pixel_values_videos"].shape == (2, 1, 3, 112, 112)
    torch.testing.assert_close(batch["pixel_values_videos"][:, 0, :1], (views - 0.5) / 0.25)
    assert batch["labels"].tolist() == stills.labels[[0, 8]].tolist()


def test_rare_classes_are_drawn_more_often_by_the_exponent_of_balance(corpus):
    faces = load_ferplus(corpus, "train").subset(np.array([0, 7, 14, 21, 1]))
    assert faces.labels.tolist() == [0, 0, 0, 0, 1]
    for balance, expected in ((0.0, 0.2), (0.5, 1 / 3), (1.0, 0.5)):
        weights = StillSource(faces, balance=balance).sampling_weights
        assert (weights[4] / weights.sum()).item() == pytest.approx(expected)


def test_random_views_stay_pictures(stills):
    batch = stills.training_batch(torch.arange(20), 40, torch.Generator().manual_seed(0))
    values = batch["pixel_values_videos"]
    assert values.shape == (20, 1, 3, 40, 40)
    assert torch.isfinite(values).all()
    assert values.min() >= -2
    assert values.max() <= 2
    again = stills.training_batch(torch.arange(20), 40, torch.Generator().manual_seed(0))
    assert torch.equal(values, again["pixel_values_videos"])
