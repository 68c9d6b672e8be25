import pytest
import torch

from training.data.batches import EpochBatches, load_in_workers


class Noise:
    """A source whose batches are random numbers beside the indices asked for."""

    labels = torch.arange(10)
    sampling_weights = torch.ones(10)

    def __len__(self):
        return 10

    def training_batch(self, indices, size, generator, *, strength=1.0):
        noise = torch.rand((len(indices), size), generator=generator) * strength
        return {"pixel_values_videos": noise, "labels": indices}


def batches(**changes):
    settings = {"batch_size": 4, "image_size": 3, "seed": 5} | changes
    return EpochBatches(Noise(), torch.arange(10), **settings)


def collect(dataset):
    return [dataset[number] for number in range(len(dataset))]


def test_every_sample_comes_and_the_last_batch_is_filled_from_the_start():
    drawn = [batch["labels"].tolist() for batch in collect(batches())]
    assert drawn == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]


def test_processes_and_micro_batches_share_each_step():
    first, second = (
        [batch["labels"].tolist() for batch in collect(batches(num_processes=2, accumulation=2, process_index=rank))]
        for rank in range(2)
    )
    assert first == [[0], [2], [4], [6], [8], [0]]
    assert second == [[1], [3], [5], [7], [9], [1]]


def test_a_batch_is_the_same_whenever_it_is_drawn_but_differs_by_epoch_number_and_process():
    noise = [batch["pixel_values_videos"] for batch in collect(batches())]
    assert torch.equal(noise[2], batches()[2]["pixel_values_videos"])
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], batches(seed=6)[0]["pixel_values_videos"])
    ranks = [batches(num_processes=2, process_index=rank)[0]["pixel_values_videos"] for rank in range(2)]
    assert not torch.equal(*ranks)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"Expected `batch_size` to be a multiple of 3, .*, got 4"):
        batches(num_processes=3)


@pytest.mark.slow
def test_workers_change_nothing():
    here, elsewhere = (list(load_in_workers(batches(), count)) for count in (0, 2))
    assert len(here) == len(elsewhere) == 3
    for first, second in zip(here, elsewhere, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
