"""Train what follows the parts of a system that see frames, or short instances, one by one, on their stored outputs.

A stored clip costs a hundredth of one that goes through the backbone, so the layers with random first weights see a
hundred times as many clips before everything is trained together.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel, ResNetBackbone

from training.config import HeadStart, TrainConfig
from training.data.protocols import TrainingSource

CLIPS_PER_PASS = 8


@dataclass(frozen=True)
class FramewiseParts:
    """Parts of a system that see every frame, or every instance of some frames, by itself.

    Args:
        stored: Names of those whose outputs the others read.
        skipped: Names of those that only lead to a stored one.
        pooled: Whether the others see maps through their means alone.
    """

    stored: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    pooled: bool = False


FRAMEWISE: Mapping[str, FramewiseParts] = {
    "dfer_aen": FramewiseParts(("trunk", "guide.trunk"), pooled=True),
    "dfer_nr_dfernet": FramewiseParts(("trunk",)),
    "dfer_keypoint_gcn": FramewiseParts(("trunk", "landmark_head")),
    # Its spatial transformer stands before the last stage and has random weights.
    "dfer_former_dfer": FramewiseParts(
        ("trunk.encoder.stages.2",), ("trunk.embedder", "trunk.encoder.stages.0", "trunk.encoder.stages.1")
    ),
    "dfer_resnet_rnn": FramewiseParts(("trunk",), pooled=True),
    "dfer_m3dfel": FramewiseParts(("trunk",)),
}


class Replay(nn.Module):
    """Stands in for a part, and says what it is told to say."""

    output: Any = None

    def forward(self, *_inputs: Any) -> Any:
        """Return the output, whatever comes in."""
        return self.output


@dataclass(frozen=True)
class StoredClips:
    """What the stored parts of a system say of clips.

    Args:
        outputs: Of each part the tensors it returns, `(clips, num_frames or bag_size, ...)` each.
        labels: Of the clips, `(clips, ...)`.
        rebuild: Of each part what makes of such tensors what it returns.
    """

    outputs: Mapping[str, tuple[torch.Tensor, ...]]
    labels: torch.Tensor
    rebuild: Mapping[str, Callable[[tuple[torch.Tensor, ...]], Any]]


def take_apart(output: Any) -> tuple[tuple[torch.Tensor, ...], Callable[[tuple[torch.Tensor, ...]], Any]]:
    """Return the tensors of what a part returned, and what makes it of them again."""
    if isinstance(output, torch.Tensor):
        return (output,), lambda tensors: tensors[0]
    if isinstance(output, tuple):
        # R3D's features; the shares of the frames are the same for all.
        return output[:1], lambda tensors: (*tensors, *output[1:])
    return tuple(output.feature_maps), lambda tensors: SimpleNamespace(feature_maps=tensors)


@contextmanager
def parts_replaced(model: nn.Module, names: tuple[str, ...]) -> Iterator[dict[str, Replay]]:
    """Put a `Replay` in the place of each part, and the parts back in the end."""
    kept = {name: model.get_submodule(name) for name in names}
    stand_ins = {name: Replay() for name in names}
    for name, stand_in in stand_ins.items():
        model.set_submodule(name, stand_in)
    try:
        yield stand_ins
    finally:
        for name, part in kept.items():
            model.set_submodule(name, part)


@torch.no_grad()
def store_clips(
    model: PreTrainedModel,
    source: TrainingSource,
    *,
    num_clips: int,
    image_size: int,
    generator: torch.Generator,
    strength: float,
    autocast: Callable[..., AbstractContextManager] = nullcontext,
) -> StoredClips:
    """Draw clips and keep what the stored parts say of them, in half precision.

    A backbone with the weights of an earlier one, as AEN's guide has at first, is not asked again.
    """
    parts = FRAMEWISE[model.config.model_type]
    lenders = {name: lender for name in parts.stored if (lender := find_lender(model, name, parts.stored)) is not None}
    heard: dict[str, list[tuple[torch.Tensor, ...]]] = {name: [] for name in parts.stored}
    rebuild = {}
    indices = torch.multinomial(source.sampling_weights, num_clips, replacement=True, generator=generator)
    labels = []
    model.eval()
    with parts_replaced(model, tuple(lenders)) as stand_ins:
        for part in tqdm(indices.split(CLIPS_PER_PASS), desc="clips", disable=None):
            batch = source.training_batch(part, image_size, generator, strength=strength)
            clips = batch["pixel_values_videos"].to(model.device)

            def listen(name: str, output: Any, count: int = len(part)) -> None:
                tensors, rebuild[name] = take_apart(output)
                kept = (
                    [tensor.float().mean(dim=(2, 3), keepdim=True) for tensor in tensors] if parts.pooled else tensors
                )
                heard[name].append(tuple(tensor.half().cpu().unflatten(0, (count, -1)) for tensor in kept))
                for borrower, (lender, places) in lenders.items():
                    if lender == name:
                        rebuild[borrower] = rebuild[name]
                        stand_ins[borrower].output = rebuild[name](tuple(tensors[place] for place in places))
                        heard[borrower].append(tuple(heard[name][-1][place] for place in places))

            hooks = [
                model.get_submodule(name).register_forward_hook(
                    lambda _part, _inputs, output, name=name, listen=listen: listen(name, output)
                )
                for name in parts.stored
                if name not in lenders
            ]
            with autocast():
                model(pixel_values_videos=clips)
            for hook in hooks:
                hook.remove()
            labels.append(batch["labels"])
    outputs = {name: tuple(map(torch.cat, zip(*heard[name], strict=True))) for name in parts.stored}
    return StoredClips(outputs, torch.cat(labels), rebuild)


def find_lender(model: nn.Module, name: str, among: tuple[str, ...]) -> tuple[str, list[int]] | None:
    """Find an earlier backbone with the same weights, and which of its maps a backbone returns as well."""
    backbone = model.get_submodule(name)
    for earlier in among[: among.index(name)]:
        lender = model.get_submodule(earlier)
        if not isinstance(backbone, ResNetBackbone) or not isinstance(lender, ResNetBackbone):
            continue
        tensors, theirs = backbone.state_dict(), lender.state_dict()
        if tensors.keys() == theirs.keys() and all(torch.equal(tensors[key], theirs[key]) for key in tensors):
            return earlier, [lender.out_features.index(stage) for stage in backbone.out_features]
    return None


def train_on_stored(
    model: PreTrainedModel,
    clips: StoredClips,
    config: HeadStart,
    *,
    image_size: int,
    generator: torch.Generator,
    autocast: Callable[..., AbstractContextManager] = nullcontext,
) -> float:
    """Train the rest of a system, with a learning rate that falls from its peak to zero along half a cosine.

    Every second clip runs backwards.

    Args:
        model: Changed in place.
        clips: What its frozen parts said.
        config: Steps and learning rate.
        image_size: Side of the pictures in pixels.
        generator: Source of all randomness but dropout.
        autocast: Opens the precision of each step's forward pass.

    Returns:
        Mean loss of the last tenth of the steps.
    """
    parts = FRAMEWISE[model.config.model_type]
    count, num_places = next(iter(clips.outputs.values()))[0].shape[:2]
    # Nobody looks at the pixels, so they have a shape alone.
    shape = (config.batch_size, model.config.num_frames, model.config.num_channels, image_size, image_size)
    pixels = torch.empty(shape, device="meta")
    losses = []
    with parts_replaced(model, (*parts.stored, *parts.skipped)) as stand_ins:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.num_steps)
        model.train()
        for name in parts.skipped:
            stand_ins[name].output = pixels
        for _ in tqdm(range(config.num_steps), desc="head start", disable=None):
            chosen = torch.randint(count, (config.batch_size,), generator=generator)
            places = torch.arange(num_places).expand(config.batch_size, -1)
            backwards = torch.rand((config.batch_size, 1), generator=generator) < 0.5
            places = torch.where(backwards, places.flip(1), places)
            for name in parts.stored:
                tensors = tuple(
                    tensor[chosen[:, None], places].flatten(0, 1).float().to(model.device)
                    for tensor in clips.outputs[name]
                )
                stand_ins[name].output = clips.rebuild[name](tensors)
            with autocast():
                loss = model(pixel_values_videos=pixels, labels=clips.labels[chosen].to(model.device)).loss
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            scheduler.step()
            losses.append(loss.item())
    tail = losses[-max(1, config.num_steps // 10) :]
    return sum(tail) / len(tail)


def give_head_start(
    model: PreTrainedModel, source: TrainingSource, config: TrainConfig, accelerator: Accelerator
) -> None:
    """Give a system a head start, where the recipe asks for one.

    Raises:
        ValueError: If no part of the system sees frames one by one.
    """
    if config.head_start is None:
        return
    if model.config.model_type not in FRAMEWISE:
        able = ", ".join(name.removeprefix("dfer_") for name in FRAMEWISE)
        raise ValueError(
            f"Expected `head_start` with a system that sees frames one by one ({able}), got {config.system}. "
            "Take it out of the recipe."
        )
    image_size, strength = config.stage(0)
    model.config.image_size = image_size
    generator = torch.Generator().manual_seed(config.seed)
    model.to(accelerator.device)  # pyright: ignore[reportArgumentType]  transformers wraps `to`
    threads = torch.get_num_threads()
    torch.set_num_threads(threads * accelerator.num_processes)  # the others wait
    clips = store_clips(
        model, source, num_clips=config.head_start.num_clips,
        image_size=image_size, generator=generator, strength=strength, autocast=accelerator.autocast,
    )  # fmt: skip
    loss = train_on_stored(
        model, clips, config.head_start, image_size=image_size, generator=generator, autocast=accelerator.autocast
    )
    torch.set_num_threads(threads)
    tqdm.write(f"head start: loss {loss:.4g}")
