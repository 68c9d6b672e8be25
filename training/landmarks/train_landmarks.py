"""Train the landmark head: `python -m training.landmarks.train_landmarks --renders … --ferplus … --output …`.

It learns from renders, whose landmarks are exact, and from the photos of FER+ with landmarks that another network
predicted, which have a smaller weight. The result is `landmark_head.safetensors` in the output folder.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from dfer_hf.models.modeling_dfer import use_strided_pointwise
from dfer_hf.models.modeling_landmark_head import LandmarkHead
from training.config import Schedule
from training.datasets.ferplus import load_ferplus
from training.engine.lr_schedules import learning_rate_factor
from training.engine.run_folder import Row, RunFolder
from training.landmarks.landmark_views import LandmarkViews
from training.synthetic.faces import load_renders

WEIGHTS_NAME = "landmark_head.safetensors"
VALIDATION_RENDERS = 500


@dataclass(frozen=True)
class LandmarkRecipe:
    """A training run.

    Args:
        width: Width of the head.
        stages: Image size, number of epochs and strength of the augmentation, in order.
        steps_per_epoch: Optimiser steps of an epoch.
        batch_size: Views of a step.
        render_share: Share of the views that are renders.
        photo_weight: Weight of a photo in the loss; a render counts 1.
        learning_rate: Peak of the schedule: linear warm-up, then cosine to zero.
        weight_decay: On all weights.
        beta: Error as a fraction of the side up to which the loss is quadratic; beyond, it is linear.
        ema_decay: Of the average of the weights that is kept.
        seed: Of all random numbers.
    """

    width: int = 32
    stages: tuple[tuple[int, int, float], ...] = ((80, 10, 1.0), (112, 14, 0.8))
    steps_per_epoch: int = 100
    batch_size: int = 64
    render_share: float = 0.5
    photo_weight: float = 0.3
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    beta: float = 0.01
    ema_decay: float = 0.995
    seed: int = 0

    @property
    def epochs(self) -> list[tuple[int, float]]:
        """Return the image size and the strength of every epoch."""
        return [(size, strength) for size, count, strength in self.stages for _ in range(count)]


def landmark_loss(found: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, beta: float) -> torch.Tensor:
    """Compute the mean Huber loss over landmarks `(n, 68, 2)` in units of `beta`, weighted by face, `(n,)`."""
    loss = nn.functional.smooth_l1_loss(found, target, beta=beta, reduction="none").mean(dim=(1, 2)) / beta
    return (weights * loss).sum() / weights.sum()


def relative_error(found: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute each face's mean landmark error over the distance between the middles of its eyes, `(n,)`."""
    eyes = target[:, 36:42].mean(dim=1) - target[:, 42:48].mean(dim=1)
    return (found - target).norm(dim=-1).mean(dim=-1) / eyes.norm(dim=-1)


@torch.inference_mode()
def validate(head: nn.Module, views: LandmarkViews, size: int, device: torch.device) -> float:
    """Compute the median relative error over faces as inference sees them, in per cent."""
    head.eval()
    errors = []
    for indices in torch.arange(len(views)).split(64):
        pixel_values, target = views.batch(indices, size)
        errors.append(relative_error(head(pixel_values.to(device)).cpu(), target))
    return 100 * torch.cat(errors).median().item()


def save_head(head: LandmarkHead, path: Path) -> None:
    """Write a head with the sizes that are needed to build it."""
    sizes = {"num_channels": head.stem.in_channels, "width": head.stem.out_channels}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in head.state_dict().items()}
    save_file(tensors, path, metadata={name: str(size) for name, size in sizes.items()})


def load_head(path: Path) -> LandmarkHead:
    """Read a head that `save_head` wrote, for inference."""
    with safe_open(path, framework="pt") as file:
        sizes = {name: int(size) for name, size in (file.metadata() or {}).items() if name != "format"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    head = LandmarkHead(**sizes)
    head.load_state_dict(tensors)
    return head.eval()


def train(
    recipe: LandmarkRecipe, renders: LandmarkViews, photos: LandmarkViews,
    held_out: dict[str, LandmarkViews], output: Path,
) -> None:  # fmt: skip
    """Train, and after every epoch measure the average of the weights and write it.

    A run that was stopped resumes after its last complete epoch when it is started again with the same `output`.
    """
    accelerator = Accelerator()
    set_seed(recipe.seed)
    run = RunFolder(output)
    with run.opened(recipe, {}, num_epochs=len(recipe.epochs)):
        head = LandmarkHead(width=recipe.width).to(memory_format=torch.channels_last)
        # No system guards it here.
        use_strided_pointwise(head)
        optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = Schedule(warmup_share=0.05)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: learning_rate_factor(
                schedule, step, num_epochs=len(recipe.epochs), steps_per_epoch=recipe.steps_per_epoch
            ),
        )
        head, optimiser = accelerator.prepare(head, optimiser)
        average = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)
        accelerator.register_for_checkpointing(scheduler, average)
        if not run.is_new:
            run.load_state(accelerator)

        num_renders = round(recipe.batch_size * recipe.render_share)
        num_photos = recipe.batch_size - num_renders
        weights = torch.tensor([1.0] * num_renders + [recipe.photo_weight] * num_photos).to(accelerator.device)
        for epoch in range(run.progress.epochs_done, len(recipe.epochs)):
            started = time.perf_counter()
            size, strength = recipe.epochs[epoch]
            generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
            head.train()
            total_loss = 0.0
            for _ in tqdm(range(recipe.steps_per_epoch), desc=f"epoch {epoch}", disable=None):
                parts = [
                    views.training_batch(count, size, generator, strength=strength)
                    for views, count in ((renders, num_renders), (photos, num_photos))
                    if count
                ]
                pixel_values, target = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
                found = head(pixel_values.to(accelerator.device, memory_format=torch.channels_last))
                loss = landmark_loss(found, target.to(accelerator.device), weights, recipe.beta)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(head.parameters(), 5.0)
                optimiser.step()
                scheduler.step()
                optimiser.zero_grad()
                average.update_parameters(head)
                total_loss += loss.item()
            row: Row = {"epoch": epoch, "image_size": size, "loss": total_loss / recipe.steps_per_epoch}
            row["seconds"] = time.perf_counter() - started
            row |= {
                name: validate(average.module, views, size, accelerator.device) for name, views in held_out.items()
            }
            tqdm.write(" ".join(f"{key} {value:.4g}" for key, value in row.items()))
            save_head(average.module, output / WEIGHTS_NAME)  # pyright: ignore[reportArgumentType]  it is the head
            run.save_state(accelerator, row, is_best=True)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="folder that training/synthetic/faces.py wrote")
    parser.add_argument("--ferplus", type=Path, required=True, help="folder of FER+ with the pseudo-landmarks")
    parser.add_argument("--output", type=Path, required=True, help="run folder; give it again to resume")
    arguments = parser.parse_args()
    images, points = load_renders(arguments.renders)
    photos, other_photos = (load_ferplus(arguments.ferplus, split) for split in ("train", "valid"))
    held_out = {
        "renders_percent": LandmarkViews(images[-VALIDATION_RENDERS:], points[-VALIDATION_RENDERS:]),
        "photos_percent": LandmarkViews(other_photos.images[::5], other_photos.landmarks[::5]),
    }
    train(
        LandmarkRecipe(),
        LandmarkViews(images[:-VALIDATION_RENDERS], points[:-VALIDATION_RENDERS]),
        LandmarkViews(photos.images, photos.landmarks),
        held_out,
        arguments.output,
    )


if __name__ == "__main__":
    main()
