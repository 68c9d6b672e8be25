"""Move the landmarks of a face, and let its pixels follow; all places are in pixels of the 112×112 crop."""

import torch

from training.data import transforms
from training.data.clips_from_stills import smooth_walk

WIDEST, SHARES = 32.0, (0.4, 0.35, 0.25)
"""Width of the widest of three Gaussians, each half as wide as the one before, in pixels; and how much each counts."""
SMOOTHING = 0.01
"""Share of a landmark's displacement that counts as noise, as 68 of them never agree exactly."""

UPPER_LIDS, LOWER_LIDS = [37, 38, 43, 44], [41, 40, 47, 46]
FULL_BLINK = 0.85
"""Share of the way that the upper lid goes to the lower one: places that meet cannot show different pixels."""

JAW = torch.zeros(68)
"""How far each landmark follows the jaw down."""
JAW[[55, 56, 57, 58, 59, 65, 66, 67]] = 1.0
JAW[[48, 54, 60, 64]] = 0.35
JAW[5:12] = 0.8
JAW[[3, 4, 12, 13]] = 0.3

NOSE = torch.zeros(68)
"""How far landmarks of the nose stand out before the rest of the face, in pixels of the crop."""
NOSE[27:36] = torch.tensor([3.0, 7.0, 11.0, 15.0, 7.0, 9.0, 10.0, 9.0, 7.0])


def displacement_fields(targets: torch.Tensor, shifts: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
    """Spread displacements of landmarks smoothly over a square of nodes, by a sum of Gaussians of three widths.

    A Gaussian on a grid is the product of one along its rows and one along its columns, which makes this cheap.

    Args:
        targets: Where landmarks are, `(n, k, 2)`.
        shifts: Displacement at each of them, `(n, k, 2)`.
        axis: Coordinates of the nodes on a side of the square, `(g,)`.

    Returns:
        Displacements at the nodes, `(n, 2, g, g)`; far from all landmarks they are zero.
    """
    count, num_marks = targets.shape[:2]
    kernel = SMOOTHING * torch.eye(num_marks).repeat(count, 1, 1)
    for wave, share in zip(gaussians(torch.cdist(targets, targets)), SHARES, strict=True):
        kernel += share * wave
    weights = torch.cholesky_solve(shifts, torch.linalg.cholesky(kernel)).transpose(1, 2)  # (n, 2, k)
    waves = gaussians(axis - targets.transpose(1, 2)[..., None])  # (n, 2, k, g): of each landmark at each node
    across = torch.cat([wave[:, 0] for wave in waves], dim=1)  # (n, 3 k, g)
    down = torch.cat([share * weights[..., None] * wave[:, 1:] for wave, share in zip(waves, SHARES, strict=True)], 2)
    field = down.transpose(2, 3).flatten(1, 2) @ across  # (n, 2 g, g)
    return field.unflatten(1, (2, len(axis)))


def gaussians(distances: torch.Tensor) -> list[torch.Tensor]:
    """The Gaussians of distances, the widest first; the fourth power of one is half as wide."""
    waves = [distances.square_().mul_(-0.5 / WIDEST**2).exp_()]
    for _ in SHARES[1:]:
        waves.append(waves[-1].square().square_())
    return waves


def draw_blinks(count: int, num_frames: int, generator: torch.Generator) -> torch.Tensor:
    """Draw how far eyes are closed, 0 to 1, `(count, num_frames)`: one short blink in every second clip."""
    middle = transforms.uniform((count, 1), -num_frames, num_frames, generator)
    length = transforms.uniform((count, 1), 0.8, 1.6, generator)
    return (1.3 - (torch.arange(num_frames) - middle).abs() / length).clamp(0, 1)


def draw_speech(count: int, num_frames: int, generator: torch.Generator) -> torch.Tensor:
    """Draw how far jaw and lips move down and apart in pixels, `(count, num_frames, 2)`; half the clips are silent."""
    keys = torch.rand((count, 8, 2), generator=generator) - torch.tensor([0.0, 0.5])
    loud = transforms.uniform((count, 1, 1), 0, 1, generator)
    talks = torch.rand((count, 1, 1), generator=generator) < 0.5
    return smooth_walk(keys * torch.tensor([6.0, 4.0]) * loud * talks, num_frames)


def draw_turns(count: int, num_frames: int, generator: torch.Generator) -> torch.Tensor:
    """Draw how far the head turns to the right and down, in radians, `(count, num_frames, 2)`."""
    keys = torch.randn((count, 4, 2), generator=generator).clamp(-2, 2) * torch.tensor([0.09, 0.06])
    return smooth_walk(keys, num_frames)


def move_landmarks(
    marks: torch.Tensor, *, blinks: torch.Tensor, speech: torch.Tensor, turns: torch.Tensor
) -> torch.Tensor:
    """Blink, talk and turn the head: landmarks `(n, 68, 2)` and, for each, what the functions above draw.

    The head turns as an ellipsoid with a nose does that is seen from afar.
    """
    moved = marks.clone()
    closing = FULL_BLINK * blinks[:, None, None]
    moved[:, UPPER_LIDS] += closing * (marks[:, LOWER_LIDS] - marks[:, UPPER_LIDS]).clamp_min(0)
    moved[..., 1] += JAW * speech[:, :1]
    corners = [48, 54, 60, 64]
    moved[:, corners, 0] += torch.tensor([-1.0, 1.0, -0.8, 0.8]) * speech[:, 1:]
    x, y = (marks[..., 0] - 55.5) / 52, (marks[..., 1] - 62) / 66
    depth = 34 * (1 - x.square() - y.square()).clamp_min(0).sqrt() + NOSE
    return moved + turns.sin()[:, None] * depth[..., None]
