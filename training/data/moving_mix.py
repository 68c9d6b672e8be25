"""Clips that move, of the faces of several datasets together."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from training.data.face_stills import LUMA
from training.data.movable_faces import MovableFaces
from training.data.moving_stills import MovingStills
from training.datasets.face_bank import FaceBank


class MovingMix:
    """Clips of several datasets; everybody in a clip is of one of them.

    Args:
        sources: Clips of each dataset.
        shares: How often a clip of each is drawn, relative to the others.
    """

    def __init__(self, sources: Sequence[MovingStills], *, shares: Sequence[float]) -> None:
        self.sources = sources
        self.starts = torch.tensor([0, *map(len, sources)]).cumsum(0)
        self.labels = torch.cat([source.labels for source in sources])
        weights = [source.sampling_weights / source.sampling_weights.sum() for source in sources]
        self.sampling_weights = torch.cat([share * drawn for share, drawn in zip(shares, weights, strict=True)])

    @classmethod
    def of_banks(
        cls,
        banks: Sequence[FaceBank],
        *,
        shares: Sequence[float],
        balance: float = 0.0,
        noise_share: float | None = None,
        most_clips: int | None = None,
    ) -> "MovingMix":
        """Make clips of the faces of banks, in grey; those whose pictures are of one size meet in clips.

        What a picture's name says before an underscore is the person, as in London, where everybody has two pictures.

        Args:
            banks: Faces.
            shares: How often a clip of each is drawn, relative to the others; banks that meet add theirs up.
            balance: Exponent of the sampling weight; see `MovableFaces.build`.
            noise_share: See `MovingStills`.
            most_clips: How many evenly spaced faces there are clips of; all where it is None.
        """
        sizes = [bank.images.shape[2:] for bank in banks]
        sources, added = [], []
        for size in dict.fromkeys(sizes):
            alike = [index for index, of_bank in enumerate(sizes) if of_bank == size]
            bank = FaceBank.join([in_grey(banks[index]) for index in alike])
            persons = [str(name).split("_")[0] for name in bank.names]
            faces = MovableFaces.build(
                bank.images, bank.crop_to_image, bank.votes, bank.landmarks, persons=persons, balance=balance
            )
            chosen = None if most_clips is None else torch.arange(0, len(bank), max(1, len(bank) // most_clips))
            sources.append(MovingStills(faces, noise_share=noise_share, chosen=chosen))
            added.append(sum(shares[index] for index in alike))
        return cls(sources, shares=added)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def votes(self) -> torch.Tensor:
        """Share of each class in the label of each clip, `(count, 7)`."""
        return torch.cat([source.faces.votes[source.chosen] for source in self.sources])

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Random clips, as `MovingStills` makes them."""
        owners = self.owners(indices)
        batch: dict[str, torch.Tensor] = {}
        for owner in owners.unique().tolist():
            places = (owners == owner).nonzero()[:, 0]
            part = self.sources[owner].training_batch(
                indices[places] - self.starts[owner], size, generator, strength=strength
            )
            for name, values in part.items():
                batch.setdefault(name, values.new_empty(len(indices), *values.shape[1:]))[places] = values
        return batch

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """The same clips every time, as `MovingStills` makes them."""
        parts = [
            self.sources[owner].batch(index[None] - self.starts[owner], size)
            for owner, index in zip(self.owners(indices).tolist(), indices, strict=True)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def owners(self, indices: torch.Tensor) -> torch.Tensor:
        """Which source each clip is of."""
        return torch.bucketize(indices, self.starts[1:], right=True)


def in_grey(bank: FaceBank) -> FaceBank:
    """Return a bank whose pictures have one channel, mixed as the processor mixes it."""
    if bank.images.shape[1] == 1:
        return bank
    luma = np.tensordot(np.asarray(bank.images), LUMA.numpy(), axes=(1, 0)).round().astype(np.uint8)
    return dataclasses.replace(bank, images=luma[:, None])
