"""Make the batches of an epoch, which are the same whenever the epoch is run again."""

from collections.abc import Sequence

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from training.data.protocols import FrameSource, Source, TrainingSource


class EpochBatches(Dataset[dict[str, torch.Tensor]]):
    """Micro-batches of one process in one epoch.

    Each is drawn with a seed of its own, made of the run's seed, the epoch, its number and the process: neither the
    number of workers nor an interruption changes it.

    Args:
        source: The samples.
        indices: Samples of the epoch in order, `(epoch_length,)`.
        batch_size: Samples of an optimiser step, over all processes and micro-batches.
        accumulation: Micro-batches of a step.
        image_size: Side of the pictures in pixels.
        strength: Of the augmentation.
        seed: Of the epoch.
        process_index: Which process this is.
        num_processes: How many there are.
    """

    def __init__(
        self,
        source: TrainingSource,
        indices: torch.Tensor,
        *,
        batch_size: int,
        accumulation: int = 1,
        image_size: int,
        strength: float = 1.0,
        seed: int,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        shares = num_processes * accumulation
        if batch_size % shares:
            raise ValueError(
                f"Expected `batch_size` to be a multiple of {shares}, processes times micro-batches, got {batch_size}."
            )
        self.source, self.image_size, self.strength, self.seed = source, image_size, strength, seed
        self.process_index = process_index
        num_steps = -(-len(indices) // batch_size)
        rounds = -(-num_steps * batch_size // len(indices))
        filled = indices.repeat(rounds)[: num_steps * batch_size]  # the last batch is filled from the epoch's start
        micro_batches = filled.view(num_steps, accumulation, num_processes, batch_size // shares)
        self.indices = micro_batches[:, :, process_index].flatten(0, 1)  # (steps · accumulation, micro-batch)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw the micro-batch of a number."""
        if number >= len(self):
            raise IndexError(number)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + number) * 1_009 + self.process_index)
        return self.source.training_batch(self.indices[number], self.image_size, generator, strength=self.strength)


class OrderedBatches(Dataset[torch.Tensor]):
    """Pictures of a source as inference sees them, batch by batch.

    Args:
        source: The clips or windows.
        batches: Indices of the source in each batch.
        image_size: Side of the pictures in pixels.
    """

    def __init__(self, source: Source | FrameSource, batches: Sequence[torch.Tensor], image_size: int) -> None:
        self.source, self.batches, self.image_size = source, batches, image_size

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> torch.Tensor:
        """Return `pixel_values_videos` of the batch of a number."""
        return self.source.batch(self.batches[number], self.image_size)["pixel_values_videos"]


def load_in_workers(batches: Dataset, num_workers: int) -> DataLoader:
    """Make batches in other processes while the model works; in this one where `num_workers` is 0."""
    if num_workers:
        # Before they are forked: a forked process would wait forever for the end of threads that it does not have.
        cv2.setNumThreads(1)
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_use_one_thread,
        # A generator of its own, so that the loader takes nothing from the one that dropout draws from.
        generator=torch.Generator(),
    )


def _use_one_thread(_worker: int) -> None:
    # OpenCV would take a thread for every core in every spawned worker; torch takes one there by itself.
    if cv2.getNumThreads() > 1:
        cv2.setNumThreads(1)
