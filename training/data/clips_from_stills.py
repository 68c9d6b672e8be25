"""Make clips of one face from stills, with small camera and light motion and frames that do not show the label.

A clip of an expression is interrupted by neutral faces, covered faces and faces of other expressions; a clip of a
neutral face only by covered ones, since a clip that shows an expression for a part is labelled with it.
"""

import torch

from training.data import transforms
from training.data.still_dataset import StillSource, to_pixel_values

NEUTRAL_KIND, COVERED_KIND, OTHER_KIND = 0, 1, 2
KINDS_OF_EXPRESSION = torch.tensor([0.5, 0.25, 0.25])
KINDS_OF_NEUTRAL = torch.tensor([0.0, 1.0, 0.0])
RUN_LENGTH = 4


def smooth_walk(keys: torch.Tensor, num_frames: int) -> torch.Tensor:
    """Interpolate key values `(count, num_keys, ...)` to `(count, num_frames, ...)` along time, linearly."""
    places = torch.linspace(0, keys.shape[1] - 1, num_frames)
    before = places.floor().long().clamp_max(keys.shape[1] - 2)
    share = (places - before).view(1, -1, *[1] * (keys.ndim - 2))
    return keys[:, before] * (1 - share) + keys[:, before + 1] * share


class StillClips:
    """Clips made from the stills of a split.

    Args:
        stills: The split's stills.
        neutral_label: Index of the neutral class.
        num_frames: Frames of a clip.
        off_target_share: Share of the frames that do not show the label; None draws 0 to 0.6 for each clip.
    """

    def __init__(
        self, stills: StillSource, *, neutral_label: int, num_frames: int = 16, off_target_share: float | None = None
    ) -> None:
        self.stills, self.neutral_label, self.num_frames = stills, neutral_label, num_frames
        self.off_target_share = off_target_share
        self.sampling_weights = stills.sampling_weights
        self.labels = stills.labels

    def __len__(self) -> int:
        return len(self.stills)

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Draw random clips of the stills at `indices`; their labels are the votes of these stills."""
        clips, _ = self.make(indices, size, generator, strength=strength)
        return {"pixel_values_videos": clips, "labels": self.stills.votes[indices]}

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """Make the same clips every time, drawn with the index of the still as seed, with majority labels."""
        made = [self.make(index[None], size, torch.Generator().manual_seed(int(index))) for index in indices]
        clips, off_target = (torch.cat(parts) for parts in zip(*made, strict=True))
        return {"pixel_values_videos": clips, "labels": self.labels[indices], "off_target": off_target}

    def make(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 0.7
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Make a clip of each still.

        Returns:
            Clips `(count, num_frames, 3, size, size)` and which frames are off target, `(count, num_frames)`.
        """
        count, num_frames = len(indices), self.num_frames
        shown, covered, off_target = self.script(indices, generator)
        framing = self.camera(count, generator, strength)  # (count, frames, 3, 3)
        matrices = self.stills.crop_to_image[shown] @ framing
        images = self.stills.images[shown.flatten()].float() / 255
        fill = ("zeros", "border", "reflection")[int(torch.randint(3, (1,), generator=generator))]
        views = transforms.warp(images, matrices.flatten(0, 1), size, fill=fill)
        views = self.light(views.unflatten(0, (count, num_frames)), generator, strength)
        views = torch.where(covered[:, :, None, None, None], transforms.cover_most(views, generator), views)
        return to_pixel_values(views), off_target

    def script(
        self, indices: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decide which still each frame shows, and which frames are covered and off target; all `(count, frames)`."""
        count, num_frames = len(indices), self.num_frames
        num_runs = -(-num_frames // RUN_LENGTH)
        run_of_frame = torch.arange(num_frames) // RUN_LENGTH
        share = (
            transforms.uniform((count, 1), 0.0, 0.6, generator)
            if self.off_target_share is None
            else torch.full((count, 1), self.off_target_share)
        )
        order = torch.rand((count, num_runs), generator=generator).argsort(dim=1).argsort(dim=1)
        off_target = (order < (share * num_runs).round())[:, run_of_frame]

        neutral_target = self.labels[indices] == self.neutral_label
        chances = torch.where(neutral_target[:, None], KINDS_OF_NEUTRAL, KINDS_OF_EXPRESSION)
        kinds = torch.multinomial(chances, num_runs, replacement=True, generator=generator)[:, run_of_frame]
        neutral = self.draw(self.labels == self.neutral_label, (count, 1), generator).expand(-1, num_frames)
        other = self.draw(self.labels >= 0, (count, num_runs), generator)
        same = self.labels[other] == self.labels[indices][:, None]  # an off-target run must not show the label
        other = torch.where(same, neutral[:, :1], other)[:, run_of_frame]

        shown = indices[:, None].expand(-1, num_frames)
        shown = torch.where(off_target & (kinds == NEUTRAL_KIND), neutral, shown)
        shown = torch.where(off_target & (kinds == OTHER_KIND), other, shown)
        return shown, off_target & (kinds == COVERED_KIND), off_target

    @staticmethod
    def draw(allowed: torch.Tensor, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        """Draw indices of allowed stills."""
        candidates = allowed.nonzero()[:, 0]
        return candidates[torch.randint(len(candidates), shape, generator=generator)]

    def camera(self, count: int, generator: torch.Generator, strength: float) -> torch.Tensor:
        """Draw a framing of each clip and small smooth motion around it, `(count, num_frames, 3, 3)`."""
        base = transforms.random_framing(count, generator, strength=strength)
        keys = transforms.random_framing(count * 4, generator, strength=0.3 * strength, mirrored=False)
        return base[:, None] @ smooth_walk(keys.unflatten(0, (count, 4)), self.num_frames)

    def light(self, clips: torch.Tensor, generator: torch.Generator, strength: float) -> torch.Tensor:
        """Give each clip one light and sharpness and a slow flicker; `(count, frames, 1, size, size)` in [0, 1]."""
        count, num_frames = clips.shape[:2]
        # One tall picture per clip, (count, 1, frames·size, size).
        rows = clips.flatten(1, 3)[:, None]
        rows = transforms.random_light(rows, generator, strength=0.8 * strength)
        clips = transforms.random_sharpness(rows, generator, strength=strength).view_as(clips)
        flicker = torch.randn((count, 4, 1, 1, 1), generator=generator) * 0.04
        return (clips + smooth_walk(flicker, num_frames)).clamp(0, 1)
