"""Train the layers after a frozen backbone on stored means of its maps.

A clip of stored frames costs a hundredth of one that goes through the backbone, so the layers with random first
weights see a hundred times as many clips before everything is trained together.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, cast

import torch
from accelerate import Accelerator
from tqdm import tqdm
from transformers import PreTrainedModel

from dfer_hf.models.modeling_aen import AenForVideoClassification
from training.config import AenWarmup, TrainConfig
from training.data import transforms
from training.data.clips_from_stills import RUN_LENGTH, StillClips
from training.data.moving_stills import MovingStills
from training.data.protocols import TrainingSource
from training.data.still_dataset import to_pixel_values
from training.engine.optim import GUIDE, TRUNK

STILLS_PER_PASS = 64
CLIPS_PER_PASS = 8

Stored = tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]
"""Of some clips: the trunk's maps as single pixels, the guide's logits, and the votes."""


class StoredFrames(Protocol):
    """Frames that trunk and guide have looked at."""

    def draw(self, count: int, generator: torch.Generator) -> Stored:
        """Draw clips."""
        ...


class StoredViews:
    """Outputs of trunk and guide for a few random views of every still, and for one view with the face covered.

    Args:
        model: The AEN whose trunk and guide are used.
        clips: The clips whose stills are used.
        image_size: Side of the views in pixels.
        num_views: Views of each still beside the covered one.
        generator: Source of randomness.
        strength: Of the augmentation.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: AenForVideoClassification,
        clips: StillClips,
        *,
        image_size: int,
        num_views: int,
        generator: torch.Generator,
        strength: float,
    ) -> None:
        self.clips, self.num_views = clips, num_views
        levels: list[list[torch.Tensor]] = [[] for _ in model.config.hidden_sizes[1:]]
        logits = []
        model.eval()
        for indices in tqdm(torch.arange(len(clips)).split(STILLS_PER_PASS), desc="views", disable=None):
            views = self._views(indices, image_size, generator, strength).to(model.device)
            for stored, level_map in zip(levels, model.trunk(views).feature_maps, strict=True):
                mean = level_map.float().mean(dim=(2, 3)).unflatten(0, (len(indices), num_views + 1))
                stored.append(mean)
            seen = model.guide.encode_frames(views.unflatten(0, (len(indices), num_views + 1)))
            logits.append(seen.float())
        self.levels = [torch.cat(parts) for parts in levels]  # three of (stills, views + 1, C_s)
        self.frame_logits = torch.cat(logits)  # (stills, views + 1, labels)

    def _views(self, indices: torch.Tensor, size: int, generator: torch.Generator, strength: float) -> torch.Tensor:
        """Pixel values `(stills · (views + 1), 3, size, size)`; the last view of each still is covered."""
        count, each = len(indices), self.num_views + 1
        framing = transforms.random_framing(count * each, generator, strength=strength).unflatten(0, (count, each))
        stills = self.clips.stills
        matrices = stills.crop_to_image[indices][:, None] @ framing
        images = stills.images[indices].float().div(255).repeat_interleave(each, dim=0)
        fill = ("zeros", "border", "reflection")[int(torch.randint(3, (1,), generator=generator))]
        views = transforms.warp(images, matrices.flatten(0, 1), size, fill=fill)
        views = transforms.random_light(views, generator, strength=0.8 * strength)
        views = transforms.random_sharpness(views, generator, strength=strength).unflatten(0, (count, each))
        views[:, -1:] = transforms.cover_most(views[:, -1:], generator)
        return to_pixel_values(views.flatten(0, 1))

    def draw(self, count: int, generator: torch.Generator) -> Stored:
        """Draw stills, and put a clip together for each of them."""
        indices = torch.multinomial(self.clips.sampling_weights, count, replacement=True, generator=generator)
        return self.batch(indices, generator)

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Stored:
        """Clips of the stills at `indices`."""
        shown, covered, _ = self.clips.script(indices, generator)
        count, num_frames = shown.shape
        runs = -(-num_frames // RUN_LENGTH)
        view = torch.randint(self.num_views, (count, runs), generator=generator)
        view = view.repeat_interleave(RUN_LENGTH, dim=1)[:, :num_frames]
        view = torch.where(covered, self.num_views, view)
        maps = [level[shown, view].float().flatten(0, 1)[..., None, None] for level in self.levels]
        return maps, self.frame_logits[shown, view], self.clips.stills.votes[indices]


class StoredClips:
    """What trunk and guide say of clips of stills that move.

    Args:
        model: The system whose trunk and guide look.
        clips: Where the clips come from.
        image_size: Side of the frames in pixels.
        num_clips: How many are drawn.
        generator: Of everything random.
        strength: Of the augmentation.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: AenForVideoClassification,
        clips: MovingStills,
        *,
        image_size: int,
        num_clips: int,
        generator: torch.Generator,
        strength: float,
    ) -> None:
        indices = torch.multinomial(clips.sampling_weights, num_clips, replacement=True, generator=generator)
        levels: list[list[torch.Tensor]] = [[] for _ in model.config.hidden_sizes[1:]]
        logits, votes = [], []
        model.eval()
        # Both start from the same recogniser, as a rule; then one pass does for both.
        theirs = model.guide.trunk.state_dict()
        is_shared = all(torch.equal(tensor, theirs[name]) for name, tensor in model.trunk.state_dict().items())
        for part in tqdm(indices.split(CLIPS_PER_PASS), desc="clips", disable=None):
            batch = clips.training_batch(part, image_size, generator, strength=strength)
            frames = batch["pixel_values_videos"].to(model.device)
            for stored, level_map in zip(levels, model.trunk(frames.flatten(0, 1)).feature_maps, strict=True):
                stored.append(level_map.float().mean(dim=(2, 3)).unflatten(0, frames.shape[:2]))
            last = levels[-1][-1]
            logits.append((model.guide.classifier(last) if is_shared else model.guide.encode_frames(frames)).float())
            votes.append(batch["labels"])
        self.levels = [torch.cat(parts) for parts in levels]  # three of (clips, frames, C_s)
        self.frame_logits, self.votes = torch.cat(logits), torch.cat(votes)

    def draw(self, count: int, generator: torch.Generator) -> Stored:
        """Draw some of the stored clips; every second one runs backwards."""
        chosen = torch.randint(len(self.votes), (count,), generator=generator)
        frames = torch.arange(self.frame_logits.shape[1]).expand(count, -1)
        backwards = torch.rand((count, 1), generator=generator) < 0.5
        frames = torch.where(backwards, frames.flip(1), frames)
        maps = [level[chosen[:, None], frames].flatten(0, 1)[..., None, None] for level in self.levels]
        return maps, self.frame_logits[chosen[:, None], frames], self.votes[chosen]


def warm_up(
    model: AenForVideoClassification,
    frames: StoredFrames,
    config: AenWarmup,
    *,
    generator: torch.Generator,
    autocast: Callable[..., AbstractContextManager] = nullcontext,
) -> float:
    """Train all but trunk and guide, with a learning rate that falls from its peak to zero along half a cosine.

    Args:
        model: The AEN; changed in place.
        views: The stored views to learn from.
        config: Steps and learning rate.
        generator: Source of all randomness but dropout.
        autocast: Opens the precision of each step's forward pass.

    Returns:
        Mean loss of the last tenth of the steps.
    """
    parameters = [parameter for name, parameter in model.named_parameters() if not name.startswith((TRUNK, GUIDE))]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.num_steps)
    model.train()
    losses = []
    for _ in tqdm(range(config.num_steps), desc="warm-up", disable=None):
        maps, frame_logits, votes = frames.draw(config.batch_size, generator)
        maps = [level.to(model.device) for level in maps]
        with autocast():
            output = model.answer_levels(maps, frame_logits.to(model.device), votes.to(model.device))
        # Not None, because labels were given.
        loss = cast(torch.Tensor, output.loss)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        scheduler.step()
        losses.append(loss.item())
    tail = losses[-max(1, config.num_steps // 10) :]
    return sum(tail) / len(tail)


def warm_up_aen(model: PreTrainedModel, source: TrainingSource, config: TrainConfig, accelerator: Accelerator) -> None:
    """Warm AEN up, where the recipe asks for one.

    Raises:
        ValueError: If the recipe asks for it with another system or other data.
    """
    if config.aen_warmup is None:
        return
    if not isinstance(model, AenForVideoClassification) or not isinstance(source, StillClips | MovingStills):
        raise ValueError(
            "Expected `aen_warmup` with system aen and data ferplus_clips or moving_ferplus. Take it out of the "
            "recipe."
        )
    image_size, strength = config.stage(0)
    warmup = config.aen_warmup
    generator = torch.Generator().manual_seed(config.seed)
    model.to(accelerator.device)  # pyright: ignore[reportArgumentType]  transformers wraps `to`
    threads = torch.get_num_threads()
    torch.set_num_threads(threads * accelerator.num_processes)  # the others wait
    with accelerator.autocast():
        frames: StoredFrames
        if isinstance(source, StillClips):
            frames = StoredViews(
                model, source, num_views=warmup.num_views,
                image_size=image_size, generator=generator, strength=strength,
            )  # fmt: skip
        else:
            frames = StoredClips(
                model, source, num_clips=warmup.num_clips,
                image_size=image_size, generator=generator, strength=strength,
            )  # fmt: skip
    loss = warm_up(model, frames, warmup, generator=generator, autocast=accelerator.autocast)
    torch.set_num_threads(threads)
    tqdm.write(f"warm-up: loss {loss:.4g}")
