"""Which face each frame of a clip shows, how strongly, and which frames do not show the clip's label."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

import torch

from training.data.movable_faces import NEUTRAL, NOBODY, MovableFaces

RUN_LENGTH = 4
LEAST_INTENSITY = 0.3
"""An expression weaker than this counts as the person's neutral face."""


class NoiseKind(IntEnum):
    """What a frame shows that does not show its clip's label."""

    NONE = 0
    SAME_PERSON_NEUTRAL = 1
    SOMEBODY_ELSE = 2
    COVERED = 3
    OTHER_EXPRESSION = 4
    NO_FACE = 5


ALL_KINDS = tuple(kind for kind in NoiseKind if kind is not NoiseKind.NONE)
OF_NEUTRAL = (NoiseKind.COVERED, NoiseKind.NO_FACE)
"""What interrupts a neutral clip: one that shows an expression for a part is labelled with it."""


@dataclass(frozen=True)
class Script:
    """The truth of clips, frame by frame; all of shape `(clips, num_frames)`.

    Args:
        shown: Index of the still.
        kinds: `NoiseKind`.
        intensities: How strong the expression is, from 0 at rest to 1 as on the still; 0 for a neutral face and where
            there is no face; of a covered face, what is behind the cover.
        runs: Number of the run of frames; what is seen changes only between runs.
    """

    shown: torch.Tensor
    kinds: torch.Tensor
    intensities: torch.Tensor
    runs: torch.Tensor

    @property
    def off_target(self) -> torch.Tensor:
        """Frames that do not show the clip's label."""
        return self.kinds != NoiseKind.NONE


class ScriptWriter:
    """Draws scripts of clips.

    Noise comes in runs of four frames that begin anywhere. Somebody else is a neutral face of another person; another
    expression is of a class of its own in each run, so the clip's label stays the one that is seen most.

    Args:
        faces: Stills to choose from.
        noise_share: Share of the frames that do not show the label, in whole runs; None draws 0 to 0.75 for each clip.
        noise_kinds: What such frames may show. Neutral clips are only interrupted by `OF_NEUTRAL`.
        num_frames: Frames of a clip.

    Raises:
        ValueError: If there is no kind, or the stills do not show what a kind needs.
    """

    def __init__(
        self, faces: MovableFaces, *, noise_share: float | None, noise_kinds: Collection[NoiseKind], num_frames: int
    ) -> None:
        if not noise_kinds or NoiseKind.NONE in noise_kinds:
            kinds = ", ".join(kind.name for kind in ALL_KINDS)
            raise ValueError(f"Expected `noise_kinds` among {kinds}, got {tuple(noise_kinds)}.")
        self.labels, self.persons, self.num_frames = faces.labels, faces.persons, num_frames
        self.noise_share = noise_share
        of_neutral = [kind for kind in OF_NEUTRAL if kind in noise_kinds] or OF_NEUTRAL
        self.chances = torch.zeros(2, len(NoiseKind))
        self.chances[0, list(noise_kinds)] = 1.0
        self.chances[1, list(of_neutral)] = 1.0
        order = self.labels.argsort()
        counts = self.labels.bincount(minlength=faces.votes.shape[1])
        self.order, self.counts, self.begins = order, counts, counts.cumsum(0) - counts
        self.expressions = torch.tensor([c for c in range(len(counts)) if counts[c] and c != NEUTRAL])
        if NoiseKind.OTHER_EXPRESSION in noise_kinds and len(self.expressions) < 2:
            raise ValueError("Expected stills of two expressions or more to interrupt one by another, got fewer.")
        if NoiseKind.SOMEBODY_ELSE in noise_kinds and not counts[NEUTRAL]:
            raise ValueError("Expected neutral stills to interrupt clips by, got none.")

    def write(self, indices: torch.Tensor, generator: torch.Generator) -> Script:
        """Draw the script of a clip of each still at `indices`."""
        count, num_runs = len(indices), -(-self.num_frames // RUN_LENGTH)
        roll = torch.randint(RUN_LENGTH, (count, 1), generator=generator)
        runs = (torch.arange(self.num_frames) + roll) // RUN_LENGTH % num_runs
        labels = self.labels[indices]
        is_neutral = labels == NEUTRAL

        noisy_runs = torch.randint(3 * num_runs // 4 + 1, (count, 1), generator=generator)
        if self.noise_share is not None:
            noisy_runs = torch.full((count, 1), round(self.noise_share * num_runs))
        ranks = torch.rand((count, num_runs), generator=generator).argsort(dim=1).argsort(dim=1)
        chances = self.chances[is_neutral.long()]
        kinds = torch.multinomial(chances, num_runs, replacement=True, generator=generator)
        kinds = torch.where(ranks < noisy_runs, kinds, int(NoiseKind.NONE)).gather(1, runs)

        shown = indices[:, None].expand(-1, self.num_frames)
        somebody = self._somebody_else(indices, generator)[:, None]
        shown = torch.where(kinds == NoiseKind.SOMEBODY_ELSE, somebody, shown)
        if self.chances[0, NoiseKind.OTHER_EXPRESSION]:
            others = self._other_expressions(labels, ranks, runs, generator)
            shown = torch.where(kinds == NoiseKind.OTHER_EXPRESSION, others, shown)
        return Script(shown, kinds, self._intensities(kinds, is_neutral, generator), runs)

    def _of_class(self, classes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw a still of each class."""
        places = (torch.rand(classes.shape, generator=generator) * self.counts[classes]).long()
        return self.order[self.begins[classes] + places.clamp_max(self.counts[classes] - 1)]

    def _somebody_else(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw a neutral still of somebody else for each clip, `(count,)`."""
        if not self.counts[NEUTRAL]:
            return indices
        drawn = self._of_class(torch.full((len(indices), 8), NEUTRAL), generator)
        own = self.persons[indices][:, None]
        is_same = (self.persons[drawn] == own) & (own != NOBODY)
        return drawn.gather(1, is_same.int().argmin(dim=1, keepdim=True))[:, 0]

    def _other_expressions(
        self, labels: torch.Tensor, ranks: torch.Tensor, runs: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Draw a still of another expression for each run, `(count, frames)`; the classes take turns."""
        keys = torch.rand((len(labels), len(self.expressions)), generator=generator)
        is_own = self.expressions == labels[:, None]
        order = keys.masked_fill(is_own, 2.0).argsort(dim=1)  # the clip's own class comes last
        turn = ranks % (len(self.expressions) - is_own.sum(dim=1, keepdim=True))
        classes = self.expressions[order.gather(1, turn)]
        return self._of_class(classes, generator).gather(1, runs)

    def _intensities(self, kinds: torch.Tensor, is_neutral: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw how strong the expression is in each frame: it rises to a peak and falls, and almost goes at rest."""
        count, num_frames = kinds.shape

        def between(low: float, high: float) -> torch.Tensor:
            return torch.rand((count, 1), generator=generator) * (high - low) + low

        place = torch.linspace(0, 1, num_frames)
        peak, height = between(0.2, 0.8), between(0.85, 1.0)
        share = torch.minimum(place / peak, (1 - place) / (1 - peak))
        begins = between(0.4, 0.75)
        course = begins + (height - begins) * torch.sin(share * torch.pi / 2) ** 0.7
        rests = kinds == NoiseKind.SAME_PERSON_NEUTRAL
        padded = torch.nn.functional.pad(rests, (1, 1))
        beside = padded[:, :-2] | padded[:, 2:]
        course = torch.where(beside, course.clamp_max(0.6), course)
        rest = between(0.0, 0.12) + torch.where(padded[:, :-2] & padded[:, 2:], 0.0, 0.12)
        course = torch.where(rests, rest, course)
        course = torch.where(kinds == NoiseKind.OTHER_EXPRESSION, between(0.6, 0.9), course)
        nothing = (kinds == NoiseKind.SOMEBODY_ELSE) | (kinds == NoiseKind.NO_FACE) | is_neutral[:, None]
        return torch.where(nothing, 0.0, course)
