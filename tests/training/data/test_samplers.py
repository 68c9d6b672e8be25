import dataclasses

import pytest
import torch

from training.data.samplers import epoch_indices, epoch_length, repeat_factors

from ..runs import STILLS

LABELS = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)
CONFIG = dataclasses.replace(STILLS, epoch_length=None)


def draw(config, *, labels=LABELS, seed=0, weights=None):
    weights = torch.ones(len(labels)) if weights is None else weights
    return epoch_indices(labels, weights, config, torch.Generator().manual_seed(seed))


def test_shuffle_shows_every_sample_once():
    config = dataclasses.replace(CONFIG, sampler="shuffle")
    order = draw(config)
    assert sorted(order.tolist()) == list(range(100))
    assert order.tolist() != list(range(100))
    assert torch.equal(order, draw(config))
    assert not torch.equal(order, draw(config, seed=1))


def test_shuffle_goes_round_again_for_a_longer_epoch():
    order = draw(dataclasses.replace(CONFIG, sampler="shuffle", epoch_length=250))
    assert set(torch.bincount(order, minlength=100).tolist()) == {2, 3}
    assert len(draw(dataclasses.replace(CONFIG, sampler="shuffle", epoch_length=7))) == 7


def test_weighted_draws_classes_evenly_by_inverse_frequency():
    share = torch.bincount(LABELS) / len(LABELS)
    config = dataclasses.replace(CONFIG, sampler="weighted", epoch_length=30_000)
    drawn = torch.bincount(LABELS[draw(config, weights=1 / share[LABELS])]) / 30_000
    assert drawn.tolist() == pytest.approx([1 / 3] * 3, abs=0.02)


@pytest.mark.parametrize(("share", "factor"), [(0.149, 2), (0.05, 2), (0.02, 3), (0.01, 4), (0.2, 1)])
def test_repeat_factors_are_those_of_the_data_wrapper(share, factor):
    rare = round(1000 * share)
    labels = torch.tensor([1] * rare + [0] * (1000 - rare))
    factors = repeat_factors(labels, 0.15)
    assert factors[0] == factor
    assert factors[-1] == 1


def test_repeat_factor_sampling_shows_rare_classes_as_often_as_their_factor():
    order = draw(dataclasses.replace(CONFIG, sampler="repeat_factor", repeat_threshold=0.2))
    assert torch.bincount(LABELS[order]).tolist() == [80, 30, 10]
    assert set(torch.bincount(order[LABELS[order] == 2])[95:].tolist()) == {2}


@pytest.mark.parametrize("sampler", ["shuffle", "weighted", "repeat_factor"])
@pytest.mark.parametrize("length", [None, 7, 250])
def test_the_length_of_an_epoch_is_that_of_what_is_drawn(sampler, length):
    config = dataclasses.replace(CONFIG, sampler=sampler, epoch_length=length)
    assert epoch_length(LABELS, config) == len(draw(config))
