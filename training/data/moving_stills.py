"""Clips in which an expression begins, peaks and ends on a real face, made from stills and landmarks.

The still is the peak. Before and after it, its landmarks are on their way from where they are at rest, and its pixels
blend into those of a neutral face: the same person's where there is one, or else that of somebody who looks alike,
with the still's own light, hair and outline. Faces blink, talk and turn, the camera moves, and some frames are noise.
"""

import dataclasses
from collections.abc import Collection

import numpy as np
import torch
from torch.nn import functional

from dfer_hf.faces.alignment import CROP_SIZE
from training.data import clip_damage, transforms
from training.data.clips_from_stills import smooth_walk
from training.data.face_motion import displacement_fields, draw_blinks, draw_speech, draw_turns, move_landmarks
from training.data.movable_faces import MovableFaces, tone_terms
from training.data.moving_script import ALL_KINDS, NoiseKind, Script, ScriptWriter
from training.data.still_dataset import to_pixel_values

FIELD_SIZE = 29
"""Nodes on a side of the fields: four pixels of the crop apart."""
FOLLOWED = torch.tensor([*range(0, 17, 2), *range(17, 28), 30, 31, 33, 35, *range(36, 68)])
"""Landmarks that pixels follow; those left out lie between two of them, on the jaw and the nose."""
FRAMES_AT_ONCE = 64
CONTRASTS = (0.6, 1.6)
"""Least and greatest factor on the contrast of a face that takes another's light."""


@dataclasses.dataclass(frozen=True)
class MovingClips:
    """Clips with their truth.

    Args:
        frames: uint8 of shape `(count, num_frames, size, size, channels)`.
        script: What each frame shows.
    """

    frames: np.ndarray
    script: Script


class MovingStills:
    """Clips made from stills that move.

    Args:
        faces: The stills.
        noise_share: Share of the frames that do not show the label; None draws 0 to 0.75 for each clip.
        noise_kinds: What such frames show; see `NoiseKind`.
        num_frames: Frames of a clip.
        chosen: Indices of the stills that clips are of, `(count,)`; all where it is None. The others are noise.
    """

    def __init__(
        self,
        faces: MovableFaces,
        *,
        noise_share: float | None = None,
        noise_kinds: Collection[NoiseKind] = ALL_KINDS,
        num_frames: int = 16,
        chosen: torch.Tensor | None = None,
    ) -> None:
        self.faces, self.num_frames = faces, num_frames
        self.chosen = torch.arange(len(faces)) if chosen is None else chosen
        self.writer = ScriptWriter(faces, noise_share=noise_share, noise_kinds=noise_kinds, num_frames=num_frames)
        self.labels, self.sampling_weights = faces.labels[self.chosen], faces.sampling_weights[self.chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Random clips of the stills at `indices`; the labels are the votes of the still that carries the label."""
        clips = self.make(indices, size, generator, strength=strength)
        return {"pixel_values_videos": pixel_values(clips.frames), "labels": self.faces.votes[self.chosen[indices]]}

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """The same clips every time, each drawn with the index of its still as seed, with majority labels.

        Beside pixels and labels stands the truth of each frame, `(count, num_frames)`: `off_target`, `noise_kind`,
        `intensity` and `frame_labels`, the class that the face shows, -1 where there is none.
        """
        seeds = self.chosen[indices].tolist()
        made = [
            self.make(index[None], size, torch.Generator().manual_seed(seed))
            for index, seed in zip(indices, seeds, strict=True)
        ]
        frames = np.concatenate([clip.frames for clip in made])
        shown, kinds, intensities = (
            torch.cat([getattr(clip.script, name) for clip in made]) for name in ("shown", "kinds", "intensities")
        )
        frame_labels = torch.where(kinds == NoiseKind.NO_FACE, -1, self.faces.labels[shown])
        return {
            "pixel_values_videos": pixel_values(frames),
            "labels": self.labels[indices],
            "off_target": kinds != NoiseKind.NONE,
            "noise_kind": kinds,
            "intensity": intensities,
            "frame_labels": frame_labels,
        }

    def make(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 0.7
    ) -> MovingClips:
        """Make a clip of each still."""
        script = self.writer.write(self.chosen[indices], generator)
        count, num_frames = script.shown.shape
        framing = self.camera(script, generator, strength)
        lookalike = torch.randint(self.faces.partners.shape[1], (count, 1), generator=generator)
        resting = self.faces.partners[script.shown].gather(2, lookalike[:, None].expand(-1, num_frames, -1))[..., 0]
        motion = {
            "blinks": draw_blinks(count, num_frames, generator).flatten(),
            "speech": draw_speech(count, num_frames, generator).flatten(0, 1),
            "turns": draw_turns(count, num_frames, generator).flatten(0, 1) * min(1.0, strength / 0.7),
        }
        shown, framing, intensities = script.shown.flatten(), framing.flatten(0, 1), script.intensities.flatten()
        still = self.faces.landmarks[shown]
        marks = move_landmarks(still + (1 - intensities)[:, None, None] * (self.faces.rest[shown] - still), **motion)
        # What is behind a cover is not worth blending.
        is_hidden = (script.kinds == NoiseKind.COVERED) | (script.kinds == NoiseKind.NO_FACE)
        intensities = intensities.masked_fill(is_hidden.flatten(), 1.0)
        parts = [
            self.render(shown[part], resting.flatten()[part], marks[part], intensities[part], framing[part], size)
            for part in torch.arange(count * num_frames).split(FRAMES_AT_ONCE)
        ]
        frames = torch.cat(parts).unflatten(0, (count, num_frames)).permute(0, 1, 3, 4, 2).contiguous().numpy()
        seeds = torch.randint(2**62, (count,), generator=generator).tolist()
        finished = [
            self.finish(clip, kinds, runs, np.random.default_rng(seed), strength)
            for clip, kinds, runs, seed in zip(frames, script.kinds.numpy(), script.runs.numpy(), seeds, strict=True)
        ]
        return MovingClips(np.stack(finished), script)

    def camera(self, script: Script, generator: torch.Generator, strength: float) -> torch.Tensor:
        """A framing of each clip with small smooth motion around it, and another one for whoever else is seen.

        Returns:
            Transforms in pixels of the 112×112 crop, `(count, num_frames, 3, 3)`.
        """
        count, num_frames = script.shown.shape
        base = transforms.random_framing(count, generator, strength=strength)
        keys = transforms.random_framing(count * 4, generator, strength=0.3 * strength, mirrored=False)
        framing = base[:, None] @ smooth_walk(keys.unflatten(0, (count, 4)), num_frames)
        num_runs = int(script.runs.max()) + 1
        cuts = transforms.random_framing(count * num_runs, generator, strength=0.5 * strength).unflatten(
            0, (count, -1)
        )
        cuts = cuts[torch.arange(count)[:, None], script.runs]
        is_cut = (script.kinds == NoiseKind.SOMEBODY_ELSE) | (script.kinds == NoiseKind.OTHER_EXPRESSION)
        return torch.where(is_cut[..., None, None], cuts @ framing, framing)

    def render(
        self,
        shown: torch.Tensor,
        resting: torch.Tensor,
        marks: torch.Tensor,
        intensities: torch.Tensor,
        framing: torch.Tensor,
        size: int,
    ) -> torch.Tensor:
        """Draw frames, uint8 `(n, channels, size, size)`.

        Args:
            shown: Index of the still of each frame, `(n,)`.
            resting: Index of the neutral still that it blends into, `(n,)`.
            marks: Where the landmarks are, in pixels of the crop, `(n, 68, 2)`.
            intensities: 1 shows the still alone, 0 the inner face of the neutral one, `(n,)`.
            framing: What each frame sees of the crop, `(n, 3, 3)`.
            size: Side of the frames in pixels.
        """
        first = 0.5 * CROP_SIZE / size - 0.5
        axis = torch.linspace(first, CROP_SIZE - 1 - first, FIELD_SIZE)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        nodes = torch.stack([x, y]).flatten(1)
        places = framing[:, :2, :2] @ nodes + framing[:, :2, 2:]  # (n, 2, nodes) in pixels of the crop
        seen_marks = (marks - framing[:, None, :2, 2]) @ torch.linalg.inv(framing[:, :2, :2]).transpose(1, 2)

        places_of_still = self.follow(shown, marks, seen_marks, places, axis)
        frames = self.sample(shown, places_of_still, size)
        blended = (intensities < 0.99) & (resting != shown)
        if blended.any():
            shown, resting, marks, seen_marks = shown[blended], resting[blended], marks[blended], seen_marks[blended]
            places = places[blended]
            neutral = self.sample(resting, self.follow(resting, marks, seen_marks, places, axis), size)
            # A weak expression looks almost neutral, and a strong one almost as on the still.
            share = soft_step(1 - intensities[blended])[:, None] * inner_face(places)
            share *= self.is_inside(places_of_still[blended])
            own, other = (self.tone_at(still, places) for still in (shown, resting))
            factor = (self.faces.contrasts[shown] / self.faces.contrasts[resting]).clamp(*CONTRASTS)[:, None, None]
            fine = enlarge(torch.cat([share[:, None], own - factor * other], dim=1), size)
            neutral = (neutral * factor[..., None] + fine[:, 1:]).clamp_(0, 255)
            frames[blended] += fine[:, :1] * (neutral - frames[blended])
        return frames.round_().to(torch.uint8)

    def follow(
        self,
        stills: torch.Tensor,
        marks: torch.Tensor,
        seen_marks: torch.Tensor,
        places: torch.Tensor,
        axis: torch.Tensor,
    ) -> torch.Tensor:
        """Say where stills show what moved faces show at `places`, in pixels of the stills, `(n, 2, nodes)`."""
        shifts = (self.faces.landmarks[stills] - marks)[:, FOLLOWED]
        fields = displacement_fields(seen_marks[:, FOLLOWED], shifts, axis).flatten(2)
        to_image = self.faces.crop_to_image[stills]
        return to_image[:, :, :2] @ (places + fields) + to_image[:, :, 2:]

    def sample(self, stills: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
        """Pixels of stills, 0 to 255, `(n, channels, size, size)`."""
        height, width = self.faces.images.shape[-2:]
        grid = enlarge((places + 0.5) * 2 / torch.tensor([[width], [height]]) - 1, size)
        images = self.faces.images[stills].float()
        return functional.grid_sample(images, grid.permute(0, 2, 3, 1), align_corners=False, padding_mode="zeros")

    def is_inside(self, places: torch.Tensor) -> torch.Tensor:
        """Whether places `(n, 2, nodes)` lie on a still, as 1 or 0, `(n, nodes)`."""
        height, width = self.faces.images.shape[-2:]
        return ((places > 0) & (places < torch.tensor([[width], [height]]) - 1)).all(dim=1).float()

    def tone_at(self, stills: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The smooth tone of faces at places of the crop, `(n, channels, nodes)`, 0 to 255."""
        terms = tone_terms(places[:, 0], places[:, 1])  # (n, nodes, 6)
        return 255 * self.faces.tones[stills] @ terms.transpose(1, 2)

    def finish(
        self, frames: np.ndarray, kinds: np.ndarray, runs: np.ndarray, generator: np.random.Generator, strength: float
    ) -> np.ndarray:
        """Cover faces, put backgrounds in their place, and damage the clip as cameras and codecs do."""
        size, channels = frames.shape[2:]
        for run in np.unique(runs):
            chosen = runs == run
            kind = kinds[chosen][0]
            if kind == NoiseKind.COVERED:
                frames[chosen] = clip_damage.cover_faces(frames[chosen], generator)
            elif kind == NoiseKind.NO_FACE:
                frames[chosen] = clip_damage.hide_background(size, channels, int(chosen.sum()), generator)
        return clip_damage.damage(frames, generator, strength)


def pixel_values(frames: np.ndarray) -> torch.Tensor:
    """Normalise frames, uint8 `(count, num_frames, size, size, channels)`, to `(count, num_frames, 3, size, size)`."""
    return to_pixel_values(torch.from_numpy(frames).permute(0, 1, 4, 2, 3).contiguous().float().div_(255))


def enlarge(values: torch.Tensor, size: int) -> torch.Tensor:
    """Interpolate values at the nodes, `(n, k, nodes)`, linearly to pixels, `(n, k, size, size)`."""
    nodes = values.unflatten(2, (FIELD_SIZE, FIELD_SIZE))
    return functional.interpolate(nodes, size=(size, size), mode="bilinear", align_corners=True)


def inner_face(places: torch.Tensor) -> torch.Tensor:
    """How much places of the crop `(n, 2, nodes)` belong to the inner face, brows to chin, 0 to 1 `(n, nodes)`."""
    away = ((places[:, 0] - 55.5).abs() / 40) ** 2.5 + ((places[:, 1] - 72).abs() / 50) ** 2.5
    return soft_step((1.15 - away) / 0.5)


def soft_step(values: torch.Tensor) -> torch.Tensor:
    """Rise smoothly from 0 at 0 and below to 1 at 1 and above."""
    share = values.clamp(0, 1)
    return share * share * (3 - 2 * share)


def noise_bench_clips(faces: MovableFaces, share: float, kind: NoiseKind, *, per_class: int = 60) -> MovingStills:
    """Clips to measure by with one kind of noise, the same ones every time, balanced as far as the stills allow.

    Args:
        faces: Stills that nothing was trained on.
        share: Share of the frames that are noise.
        kind: What such frames show; clips of a neutral face are interrupted by `OF_NEUTRAL` where the kind would show
            an expression or no change.
        per_class: Most clips of a class.
    """
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    labels = faces.labels[order]
    chosen = torch.cat([order[labels == label][:per_class] for label in range(faces.votes.shape[1])])
    return MovingStills(faces, noise_share=share, noise_kinds=(kind,), chosen=chosen)
