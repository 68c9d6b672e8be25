"""Stills of faces with what it takes to move them: landmarks, the same face at rest, and who is seen.

A face at rest is a neutral still of the same person, or else of people who look alike, moved to where the face's own
landmarks are at rest. Moving landmarks alone is not enough: teeth, cheeks and wrinkles still show the expression, to
people and to networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dfer_hf.faces.alignment import CROP_SIZE, five_points_of_68
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.data import transforms
from training.data.samplers import balanced_weights
from training.datasets.ferplus import FerPlus

NEUTRAL = SEVEN_EMOTIONS.index(Emotion.NEUTRAL)
NOBODY = -1
"""Person of a face where it is not known."""

STEADY = torch.tensor([0, 1, 2, 3, 13, 14, 15, 16, 27, 28, 29, 30, 33, 36, 39, 42, 45])
"""Landmarks that an expression hardly moves: sides of the face, bridge and base of the nose, corners of the eyes."""
ANCHORS = torch.tensor([27, 28, 29, 30, 36, 39, 42, 45])
"""Steady landmarks by which faces are laid over each other."""
RIDGE = 20.0
"""In squared pixels of the crop, for the regression of a face at rest; noise of the landmarks is about a pixel."""
LEAST_NEUTRAL_SHARE = 0.6
NUM_LOOKALIKES = 4


@dataclass(frozen=True)
class MovableFaces:
    """Stills that clips can be made of.

    Args:
        images: uint8 of shape `(count, channels, height, width)`, one channel or three.
        crop_to_image: From pixels of the aligned 112×112 crop to pixels of the image, `(count, 2, 3)`.
        votes: Share of each of the seven classes, `(count, 7)`; rows sum to 1.
        landmarks: The 68 landmarks in pixels of the crop, `(count, 68, 2)`.
        rest: Where the landmarks are when the same face is neutral, in pixels of the crop, `(count, 68, 2)`.
        persons: Number of the person, -1 where it is not known, `(count,)`.
        partners: Indices of neutral stills of the same person or of those who look most alike, `(count, k)`; a neutral
            still is its own.
        tones: How light falls on each face, for each channel the factors of `tone_terms`, `(count, channels, 6)`.
        contrasts: Deviation of each face from its tones, `(count,)`.
        sampling_weights: How often weighted sampling draws each still, `(count,)`.
    """

    images: torch.Tensor
    crop_to_image: torch.Tensor
    votes: torch.Tensor
    landmarks: torch.Tensor
    rest: torch.Tensor
    persons: torch.Tensor
    partners: torch.Tensor
    tones: torch.Tensor
    contrasts: torch.Tensor
    sampling_weights: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> torch.Tensor:
        """Class with the most votes, `(count,)`."""
        return self.votes.argmax(dim=1)

    @classmethod
    def build(
        cls,
        images: np.ndarray,
        crop_to_image: np.ndarray,
        votes: np.ndarray,
        landmarks: np.ndarray,
        *,
        persons: Sequence[str] | None = None,
        balance: float = 0.0,
    ) -> "MovableFaces":
        """Work out how each face is at rest.

        A person with a neutral still is at rest as that still shows it; for anybody else, the shape at rest is
        predicted from the steady landmarks, as neutral stills have it.

        Args:
            images: See `MovableFaces`.
            crop_to_image: See `MovableFaces`.
            votes: See `MovableFaces`.
            landmarks: In pixels of the image, `(count, 68, 2)`.
            persons: Name of the person of each still; None where nobody is known.
            balance: Exponent of the sampling weight: a class with share `p` is drawn in proportion to
                `p^(1 - balance)`.

        Raises:
            ValueError: If no still is neutral, or shapes do not fit together.
        """
        count = len(images)
        shapes = {"crop_to_image": (count, 2, 3), "votes": (count, 7), "landmarks": (count, 68, 2)}
        given = {"crop_to_image": crop_to_image, "votes": votes, "landmarks": landmarks}
        for name, shape in shapes.items():
            if given[name].shape != shape:
                raise ValueError(f"Expected `{name}` of shape {shape}, got {given[name].shape}.")
        shares = torch.from_numpy(votes).float()
        labels = shares.argmax(dim=1)
        matrices = torch.from_numpy(crop_to_image).float()
        marks = to_crop(torch.from_numpy(landmarks).float(), matrices)
        people = torch.full((count,), NOBODY)
        if persons is not None:
            people = torch.from_numpy(np.unique(np.asarray(persons), return_inverse=True)[1])
        pictures = torch.from_numpy(images)
        neutral = (labels == NEUTRAL) & (shares[:, NEUTRAL] >= LEAST_NEUTRAL_SHARE)
        rest = torch.where((labels == NEUTRAL)[:, None, None], marks, shapes_at_rest(marks, neutral=neutral))
        tones, contrasts, looks = describe(pictures, matrices, marks)
        partners = find_lookalikes(looks, labels, neutral)
        for index, own in find_own_neutral(people, labels).items():
            partners[index], rest[index] = own, marks[own]
        return cls(
            images=pictures,
            crop_to_image=matrices,
            votes=shares,
            landmarks=marks,
            rest=rest,
            persons=people,
            partners=partners,
            tones=tones,
            contrasts=contrasts,
            sampling_weights=balanced_weights(labels, balance),
        )


def movable_ferplus(faces: FerPlus, *, balance: float = 0.0) -> MovableFaces:
    """Faces of a split of FER+."""
    matrices = transforms.alignment_matrices(five_points_of_68(faces.landmarks)).numpy()
    return MovableFaces.build(faces.images[:, None], matrices, faces.votes, faces.landmarks, balance=balance)


def to_crop(points: torch.Tensor, crop_to_image: torch.Tensor) -> torch.Tensor:
    """Bring points `(count, k, 2)` from pixels of the images to pixels of the aligned crops."""
    linear, shift = crop_to_image[:, :, :2], crop_to_image[:, None, :, 2]
    return (points - shift) @ torch.linalg.inv(linear).transpose(1, 2)


def tone_terms(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Terms of a smooth tone over the crop, at pixels `(...)` of it: `(..., 6)`."""
    x, y = (x - 55.5) / 56, (y - 60) / 56
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1)


def describe(
    images: torch.Tensor, crop_to_image: torch.Tensor, marks: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Describe how faces are lit, and how they look apart from the mouth.

    Returns:
        Tones `(count, channels, 6)`, contrasts `(count,)`, and looks `(count, k)` whose distances say who looks alike.
    """
    side = 14
    axis = (torch.arange(side) + 0.5) * (CROP_SIZE / side) - 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    in_face = ((x - 55.5) / 40).square() + ((y - 68) / 46).square() < 1
    in_mouth = ((x - 55.5) / 24).square() + ((y - 92) / 18).square() < 1
    seen = in_face & ~in_mouth
    terms = tone_terms(x[seen], y[seen])
    parts = []
    for chosen in torch.arange(len(images)).split(512):
        views = transforms.warp(images[chosen].float() / 255, crop_to_image[chosen], side, fill="border")
        parts.append(views[:, :, seen])
    pixels = torch.cat(parts)
    tones = pixels @ torch.linalg.pinv(terms).T
    details = (pixels - tones @ terms.T).mean(dim=1)
    contrasts = details.std(dim=1).clamp_min(0.02)
    light = tones.mean(dim=1)
    looks = [
        0.15 * marks[:, STEADY].flatten(1),
        0.6 * details / contrasts[:, None],
        4 * light[:, :1],
        3 * light[:, 1:3],
        10 * contrasts[:, None],
    ]
    return tones, contrasts, torch.cat(looks, dim=1)


def find_lookalikes(looks: torch.Tensor, labels: torch.Tensor, neutral: torch.Tensor) -> torch.Tensor:
    """Find the neutral stills that look most like each still, `(count, k)`; a neutral still gets itself."""
    candidates = neutral.nonzero()[:, 0]
    number = min(NUM_LOOKALIKES, len(candidates))
    partners = torch.arange(len(labels))[:, None].repeat(1, number)
    for chosen in (labels != NEUTRAL).nonzero()[:, 0].split(512):
        distances = torch.cdist(looks[chosen], looks[candidates])
        partners[chosen] = candidates[distances.topk(number, largest=False).indices]
    return partners


def find_own_neutral(persons: torch.Tensor, labels: torch.Tensor) -> dict[int, int]:
    """Map stills that are not neutral to a neutral one of the same person, where there is one."""
    known = {int(persons[index]): int(index) for index in (labels == NEUTRAL).nonzero()[:, 0] if persons[index] >= 0}
    expressive = (labels != NEUTRAL).nonzero()[:, 0].tolist()
    return {index: known[int(persons[index])] for index in expressive if int(persons[index]) in known}


def shapes_at_rest(marks: torch.Tensor, *, neutral: torch.Tensor) -> torch.Tensor:
    """Predict how each face is at rest from the landmarks that an expression hardly moves.

    Faces are laid over each other by eyes and nose; a ridge regression over the neutral ones then says where the other
    landmarks are, given the steady ones, which carry the person and the turn of the head.

    Args:
        marks: Landmarks in pixels of the crop, `(count, 68, 2)`.
        neutral: Which faces are surely neutral, `(count,)`.

    Returns:
        Landmarks at rest in pixels of the crop, `(count, 68, 2)`; the steady ones are the face's own.

    Raises:
        ValueError: If no face is neutral.
    """
    if not neutral.any():
        raise ValueError("Expected a neutral face among the stills, found none. Clips begin and end with one.")
    laid, scale, shift = lay_over(marks, marks[neutral].mean(dim=0))
    mean = laid[neutral].mean(dim=0)
    offsets = (laid - mean).double()
    steady = offsets[:, STEADY].flatten(1)
    known, wanted = steady[neutral], offsets[neutral].flatten(1)
    gram = known.T @ known + RIDGE * torch.eye(known.shape[1])
    predicted = mean + (steady @ torch.linalg.solve(gram, known.T @ wanted)).float().unflatten(1, (68, 2))
    predicted = torch.view_as_complex(predicted)
    rest = torch.view_as_real((predicted - shift) / scale)
    rest[:, STEADY] = marks[:, STEADY]
    return rest


def lay_over(marks: torch.Tensor, onto: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lay faces `(count, 68, 2)` over a face `(68, 2)` by eyes and nose: turn, scale and shift by least squares.

    Returns:
        The faces, and the complex factor and shift that were applied to them, `(count, 1)` each.
    """
    points, goal = torch.view_as_complex(marks.contiguous()), torch.view_as_complex(onto.contiguous())
    fixed = points[:, ANCHORS]
    middle, goal_middle = fixed.mean(dim=1, keepdim=True), goal[ANCHORS].mean()
    spread = (fixed - middle).abs().square().sum(dim=1, keepdim=True).clamp_min(1e-6)
    scale = ((fixed - middle).conj() * (goal[ANCHORS] - goal_middle)).sum(dim=1, keepdim=True) / spread
    shift = goal_middle - scale * middle
    return torch.view_as_real(points * scale + shift), scale, shift
