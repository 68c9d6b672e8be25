"""Train a system by a recipe: `accelerate launch training/train.py <recipe.toml> --data-root <folder> --output <folder>`."""

import argparse
import csv
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from dfer_hf.models.modeling_aen import AenForVideoClassification
from training.clips import StillClips
from training.config import TrainConfig, load_config
from training.head_start import StoredViews, give_head_start
from training.initialise import build_model
from training.metrics import average_recalls, confusion_matrix
from training.sources import build_sources
from training.stills import StillSource


def learning_rate_factor(step: int, total_steps: int, warmup_share: float) -> float:
    """Linear warm-up to 1, then half a cosine to 0."""
    warmup_steps = max(1, int(total_steps * warmup_share))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps)))


def build_optimiser(model: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Decay weights of more than one dimension; give a trunk that is already trained its own learning rate."""
    groups = []
    for in_trunk in (False, True):
        share = config.trunk_learning_rate_share if in_trunk else 1.0
        for decays in (False, True):
            parameters = [
                parameter
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
                and name.startswith("trunk.") == in_trunk
                and (parameter.ndim > 1) == decays
            ]
            decay = config.weight_decay if decays else 0.0
            groups.append({"params": parameters, "lr": config.learning_rate * share, "weight_decay": decay})
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    raise ValueError(f"Expected `optimiser` to be sgd or adamw, got {config.optimiser!r}.")


@torch.inference_mode()
def evaluate(model: PreTrainedModel, source, image_size: int) -> dict[str, float]:
    """Accuracy (WAR) and mean recall (UAR) over a source, one view of each sample."""
    model.eval()
    model.config.image_size = image_size
    predictions, labels = [], []
    for indices in torch.arange(len(source)).split(64):
        batch = source.batch(indices, image_size)
        logits = model(batch["pixel_values_videos"].to(model.device)).logits
        predictions.append(logits.argmax(dim=-1).cpu())
        labels.append(batch["labels"])
    counts = confusion_matrix(
        torch.cat(predictions).numpy(), torch.cat(labels).numpy(), len(model.config.id2label or {})
    )
    war, uar = average_recalls(counts)
    return {"war": war, "uar": uar}


def start_ahead(
    model: PreTrainedModel, source: StillSource | StillClips, config: TrainConfig, accelerator: Accelerator
) -> None:
    """Give a system of clips its head start, where the recipe asks for one.

    Raises:
        ValueError: If the recipe asks for it with another system or other data.
    """
    if config.head_start is None:
        return
    if not isinstance(model, AenForVideoClassification) or not isinstance(source, StillClips):
        raise ValueError(
            "Expected `head_start` with system aen and data ferplus_clips. Take it out of the recipe."
        )
    image_size, strength = config.stage(0)
    generator = torch.Generator().manual_seed(config.seed)
    model.to(accelerator.device)  # pyright: ignore[reportArgumentType]  transformers wraps `to`
    threads = torch.get_num_threads()
    torch.set_num_threads(threads * accelerator.num_processes)  # the others wait
    with accelerator.autocast():
        views = StoredViews(
            model,
            source,
            image_size=image_size,
            num_views=config.head_start.num_views,
            generator=generator,
            strength=strength,
        )
    loss = give_head_start(
        model, views, config.head_start, generator=generator, autocast=accelerator.autocast
    )
    torch.set_num_threads(threads)
    tqdm.write(f"head start: loss {loss:.4g}")


def train(config: TrainConfig, data_root: Path, output: Path) -> None:
    """Train, keep an average of the weights, measure it after every epoch, and write it as a checkpoint.

    A run that was stopped goes on after its last whole epoch when it is started again with the same `output`.
    """
    accelerator = Accelerator()
    set_seed(config.seed)
    output.mkdir(parents=True, exist_ok=True)
    state, progress, log = output / "state", output / "progress.json", output / "log.csv"
    training_source, validation_source = build_sources(config, data_root)
    model = build_model(config)
    nn.Module.to(model, memory_format=torch.channels_last)  # a fifth faster on CPUs
    if accelerator.is_main_process and not progress.is_file():  # `prepare` hands its weights to all processes
        start_ahead(model, training_source, config, accelerator)
    total_steps = config.num_epochs * config.steps_per_epoch
    optimiser = build_optimiser(model, config)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_factor(step, total_steps, config.warmup_share)
    )
    model, optimiser = accelerator.prepare(model, optimiser)
    unwrapped = accelerator.unwrap_model(model)
    average = AveragedModel(unwrapped, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
    averaged = cast(PreTrainedModel, average.module)
    accelerator.register_for_checkpointing(scheduler, average)

    batch_size = config.batch_size // accelerator.num_processes
    first_epoch = 0
    if progress.is_file():  # written last: without it the state may be half of one
        accelerator.load_state(str(state))
        first_epoch = json.loads(progress.read_text(encoding="utf-8"))["epochs_done"]
    if accelerator.is_main_process:
        (output / "config.json").write_text(
            json.dumps(dataclasses.asdict(config), indent=2), encoding="utf-8"
        )

    for epoch in range(first_epoch, config.num_epochs):
        started = time.perf_counter()
        image_size, strength = config.stage(epoch)
        unwrapped.config.image_size = image_size
        if epoch and image_size != config.stage(epoch - 1)[0]:
            average.n_averaged.zero_()  # weights and batch statistics of another size would only blur the average
        generator = torch.Generator().manual_seed(
            config.seed * 100_003 + epoch * 101 + accelerator.process_index
        )
        model.train()
        total_loss = 0.0
        bar = tqdm(
            range(config.steps_per_epoch),
            desc=f"epoch {epoch}",
            disable=None if accelerator.is_main_process else True,
        )
        for _ in bar:
            indices = torch.multinomial(
                training_source.sampling_weights, batch_size, replacement=True, generator=generator
            )
            batch = training_source.training_batch(indices, image_size, generator, strength=strength)
            loss = model(**{name: value.to(accelerator.device) for name, value in batch.items()}).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            scheduler.step()
            optimiser.zero_grad()
            average.update_parameters(unwrapped)
            total_loss += loss.item()
        if accelerator.is_main_process:
            row = {"epoch": epoch, "image_size": image_size, "loss": total_loss / config.steps_per_epoch}
            row |= {"seconds": time.perf_counter() - started} | evaluate(
                averaged, validation_source, image_size
            )
            tqdm.write(" ".join(f"{key} {value:.4g}" for key, value in row.items()))
            averaged.save_pretrained(output / "checkpoint")
        accelerator.save_state(str(state))
        if accelerator.is_main_process:
            with log.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fieldnames=list(row))
                if epoch == 0:
                    writer.writeheader()
                writer.writerow(row)
            progress.write_text(json.dumps({"epochs_done": epoch + 1}), encoding="utf-8")
        accelerator.wait_for_everyone()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "recipe", type=Path, help="TOML recipe, such as training/recipes/frame_resnet_ferplus.toml"
    )
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--output", type=Path, required=True, help="run folder; give it again to resume")
    arguments = parser.parse_args()
    train(load_config(arguments.recipe), arguments.data_root, arguments.output)


if __name__ == "__main__":
    main()
