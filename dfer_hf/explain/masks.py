"""Maps from random masks, slow and independent of any layer: what the other maps are compared with."""

import torch
from torch import nn

from ..models.modeling_dfer import DferPreTrainedModel
from .gradients import PlaceEvidence
from .targets import ANSWER, Target
from .temporal import encode_and_answer

NUM_MASKS = 256
MAP_SIDE = 28
MASKS_PER_BATCH = 4
# Half axes of a covering ellipse in sides of the crop: from an eye to half a face.
SMALLEST, LARGEST = 0.1, 0.3


def blurred(clips: torch.Tensor) -> torch.Tensor:
    """Blur clips `(batch, num_frames, channels, side, side)` until no movement of a face can be seen in them.

    Where a part of a frame is covered with it, a face stays a face: squares of one colour would be news to a model.
    """
    side = clips.shape[-1]
    sigma = side / 10
    reach = min(round(2.5 * sigma), side - 1)
    offsets = torch.arange(-reach, reach + 1, device=clips.device)
    kernel = (-(offsets / sigma).square() / 2).exp()
    kernel = (kernel / kernel.sum()).to(clips.dtype)
    rows = clips.flatten(0, 2)[:, None]  # (batch·frames·channels, 1, side, side)
    rows = nn.functional.pad(rows, (reach,) * 4, mode="reflect")
    rows = nn.functional.conv2d(nn.functional.conv2d(rows, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return rows.view(clips.shape)


def random_masks(count: int, num_frames: int, generator: torch.Generator) -> torch.Tensor:
    """Draw soft ellipses the size of parts of a face, each over a run of half the frames.

    Returns:
        How much each place is covered, `(count, num_frames, MAP_SIDE, MAP_SIDE)` from 0 to 1.
    """
    centre, draw = torch.rand(2, count, 1, 1, generator=generator), torch.rand(3, count, 1, 1, generator=generator)
    axes = SMALLEST + (LARGEST - SMALLEST) * draw[:2]
    angle = torch.pi * draw[2]
    places = (torch.arange(MAP_SIDE) + 0.5) / MAP_SIDE
    x, y = places[None, None, :] - centre[0], places[None, :, None] - centre[1]  # (count, 1, side), (count, side, 1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    distance = ((along / axes[0]).square() + (across / axes[1]).square()).sqrt()  # (count, side, side)
    ellipses = ((1.2 - distance) / 0.4).clamp(0, 1)
    length = -(-num_frames // 2)
    first = torch.randint(num_frames - length + 1, (count, 1), generator=generator)
    frames = torch.arange(num_frames)
    in_run = ((frames >= first) & (frames < first + length)).float()
    return in_run[:, :, None, None] * ellipses[:, None]


@torch.inference_mode()
def mask_maps(
    model: DferPreTrainedModel,
    pixel_values_videos: torch.Tensor,
    target: Target = ANSWER,
    *,
    num_masks: int = NUM_MASKS,
    seed: int = 0,
) -> PlaceEvidence:
    """Cover random parts with a blurred face, and see what is lost by covering each place (after RISE, Petsiuk 2018).

    Args:
        model: A system in evaluation.
        pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
        target: What is explained.
        num_masks: Each costs as much as an answer.
        seed: Of the masks, which are the same for all clips.
    """
    output, encoded = encode_and_answer(model, pixel_values_videos)
    contrast = target.resolve(model, output.logits)
    before, fill = contrast.log_odds(output.logits), blurred(pixel_values_videos)
    batch_size, num_frames, _, *size = pixel_values_videos.shape
    masks = random_masks(num_masks, num_frames, torch.Generator().manual_seed(seed)).to(pixel_values_videos.device)
    lost = []
    for part in masks.split(MASKS_PER_BATCH):
        cover = nn.functional.interpolate(part, size, mode="bilinear")[None, :, :, None].to(fill.dtype)
        covered = torch.lerp(pixel_values_videos[:, None], fill[:, None], cover)  # (batch, masks, frames, ...)
        answers = model(pixel_values_videos=covered.flatten(0, 1)).logits.unflatten(0, (batch_size, len(part)))
        lost.append(before[:, None] - contrast.log_odds(answers))
    losses = torch.cat(lost, dim=1)  # (batch, masks)
    # Mean loss where a place is covered, above the mean of all masks.
    excess = losses - losses.mean(dim=1, keepdim=True)
    maps = torch.einsum("bm,mthw->bthw", excess, masks) / masks.sum(dim=0).clamp_min(1e-6)
    return PlaceEvidence(maps.relu(), output, encoded)
