"""Measure whether systems look away from noise, as their papers claim: train them briefly on clips with known noise.

`python -m training.synthetic.noise_bench --face-kit <ict_facekit.npz> --systems nr_dfernet m3dfel --output runs/noise`

Clips carry one label each; no system is told which of their frames are noise. They are put together from rendered
pictures (`noise_bank.py`, `noise_clips.py`): training clips anew for every epoch, test clips of other people.

Systems start from a frame recogniser, as in AEN's training (Sec. 3.1: the trunk and the guide come from a ResNet
trained on RAF-DB). The shipped recogniser, trained on FER+, is fine-tuned on the bank's pictures, which are labelled
with what they show and never covered. AEN takes it as trunk and guide, NR-DFERNet takes its first three stages, and
M3DFEL's 3D trunk is inflated from it and trained on the pictures as well, in place of the paper's Kinetics weights.
All other weights start at random.

M3DFEL keeps the paper's best bag of four instances of four frames. All frames of an instance share one weight, so the
model cannot separate noise that begins in the middle of an instance; `noise_clips` says why it may begin there.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

import dfer_hf
from dfer_hf.checkpoints import shipped_folder
from dfer_hf.models.modeling_dfer import DferOutput
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from training.data import transforms
from training.data.still_dataset import to_pixel_values
from training.engine.guards import in_3d
from training.engine.optim import TRUNK
from training.synthetic.noise_bank import FaceBank, make_bank
from training.synthetic.noise_clips import NoiseClips
from training.synthetic.noise_measures import Figure, Observed, measure
from training.synthetic.warm_start import start_trunk

TEST_PEOPLE, TEST_CLIPS = 60, 1680
VIEW = 64
"""Side in pixels of what a model sees of a picture, about that of an aligned crop; resized to the model's own."""

LEGEND = (
    "Noise and its kinds: weight on such frames over their share of the frames; mean pooling is 1. By place: "
    "from the mean weights over all clips. Other as strong: over the weight of target frames of intensity 0.6 or "
    "more. "
    "Intensity: rank correlation with the weights of target frames."
)


@dataclass(frozen=True)
class Study:
    """How a system is trained on the bench.

    Args:
        model: Fields of its configuration that differ from its preset `small`.
        num_epochs: Times that clips are put together.
        epoch_length: Clips of an epoch.
        learning_rate: Peak of a warm-up and half a cosine; of weights that start at random.
        trunk_share: Factor on it for a pretrained trunk.
        batch_size: Clips of a step.
        num_still_epochs: Epochs of a 3D trunk on the bank's pictures, each a clip of one frame, before everything is
            trained together: its maps are larger than those of the 2D trunk whose weights it takes.
    """

    model: dict[str, Any] = field(default_factory=dict)
    num_epochs: int = 8
    epoch_length: int = 560
    learning_rate: float = 5e-4
    trunk_share: float = 0.2
    batch_size: int = 8
    num_still_epochs: int = 0


RECOGNISER = Study(num_epochs=4, trunk_share=1.0, batch_size=32)
THREE_D = Study(
    {"hidden_sizes": [32, 64, 128, 256]},
    num_epochs=10, learning_rate=2e-3, trunk_share=0.1, batch_size=16, num_still_epochs=4,
)  # fmt: skip
STUDIES = {
    "nr_dfernet": Study({"depths": [2, 2, 2]}, learning_rate=3e-4, trunk_share=0.1),
    "aen": Study(),
    "m3dfel": THREE_D,
    "r3d": THREE_D,
}
"""Widths and depths are the recogniser's, to start from it."""


def split_bank(people: FaceBank, num_clips: int) -> tuple[FaceBank, NoiseClips]:
    """Split the people: a bank of training people, and test clips of the others, which are the same every time."""
    bank, others = people.divide(TEST_PEOPLE)
    return bank, others.compose(num_clips, np.random.default_rng(7), least_runs=1)


def views(
    clips: NoiseClips, indices: torch.Tensor, size: int, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Pixel values `(count, num_frames, 3, size, size)` of the middle of the pictures, or of a random part and light.

    Position, mirroring and light are the same for all frames of a clip, as in the papers; with a generator, the loop
    that each clip is also begins anywhere.
    """
    frames = torch.from_numpy(clips.frames[indices.numpy()]).float()[:, :, None] / 255  # of one channel
    room, num_frames = frames.shape[-1] - VIEW, frames.shape[1]
    corners = torch.full((len(frames), 2), room // 2)
    if generator is not None:
        corners = torch.randint(room + 1, (len(frames), 2), generator=generator)
        begins = torch.randint(num_frames, (len(frames), 1), generator=generator)
        order = (begins + torch.arange(num_frames)) % num_frames
        frames = frames[torch.arange(len(frames))[:, None], order]
    parts = torch.stack([
        clip[..., top : top + VIEW, left : left + VIEW]
        for clip, (top, left) in zip(frames, corners.tolist(), strict=True)
    ])  # fmt: skip
    if generator is not None:
        mirrored = torch.rand(len(parts), generator=generator) < 0.5
        parts = torch.where(mirrored[:, None, None, None, None], parts.flip(-1), parts)
        # Frames as channels: one light.
        lit = transforms.random_light(parts[:, :, 0], generator, strength=0.5)
        parts = lit[:, :, None]
    if size != VIEW:
        resized = nn.functional.interpolate(parts.flatten(0, 1), size=(size, size), mode="bilinear", antialias=True)
        parts = resized.unflatten(0, parts.shape[:2])
    return to_pixel_values(parts)


def fit(
    model: PreTrainedModel, draw: Callable[[np.random.Generator], NoiseClips], study: Study, *, seed: int = 0
) -> list[float]:
    """Train a system on clips, drawn for each epoch, with their labels alone; returns the mean loss of each epoch.

    In bf16 but for 3D convolutions; see `training/engine/guards.py`.

    Raises:
        FloatingPointError: If the loss is not finite.
    """
    generator, draws = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    torch.manual_seed(seed)  # dropout
    steps_per_epoch = max(1, study.epoch_length // study.batch_size)
    trunk = {name for name, _ in model.named_parameters() if name.startswith(TRUNK)}
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    rates = (study.learning_rate, study.learning_rate * study.trunk_share)
    groups = [
        {"params": [parameter for name, parameter in trained if (name in trunk) == in_trunk]}
        for in_trunk in (False, True)
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=list(rates), total_steps=steps_per_epoch * study.num_epochs, pct_start=0.1
    )
    halved = not in_3d(model)
    if not halved:
        nn.Module.to(model, memory_format=torch.channels_last_3d)  # faster in single precision
    losses = []
    for epoch in range(study.num_epochs):
        clips = draw(draws)
        labels = torch.from_numpy(clips.labels)
        model.train()
        total = 0.0
        order = torch.randperm(len(labels), generator=generator)[: steps_per_epoch * study.batch_size]
        for indices in tqdm(order.split(study.batch_size), desc=f"epoch {epoch}", disable=None):
            pixel_values = views(clips, indices, model.config.image_size, generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=halved):
                output = model(pixel_values_videos=pixel_values, labels=labels[indices])
            optimiser.zero_grad()
            output.loss.backward()
            nn.utils.clip_grad_norm_([parameter for _, parameter in trained], 5.0)
            optimiser.step()
            scheduler.step()
            total += output.loss.item()
        if not np.isfinite(total):
            raise FloatingPointError(
                f"Expected a finite loss, got {total} in epoch {epoch}. Lower the learning rate of the study."
            )
        losses.append(total / steps_per_epoch)
        tqdm.write(f"epoch {epoch}: loss {losses[-1]:.4g}")
    return losses


@torch.inference_mode()
def observe(model: PreTrainedModel, clips: NoiseClips) -> Observed:
    """Predict from the middle of every picture, in single precision."""
    model.eval()
    said = []
    for indices in torch.arange(len(clips.labels)).split(16):
        output: DferOutput = model(pixel_values_videos=views(clips, indices, model.config.image_size))
        given = (output.logits, output.frame_logits, output.frame_weights)
        logits, frame_logits, weights = (cast(torch.Tensor, part).float() for part in given)
        parts = (logits.softmax(dim=-1), frame_logits.softmax(dim=-1), weights)
        said.append([part.numpy() for part in parts])
    parts = [np.concatenate(part) for part in zip(*said, strict=True)]
    return Observed(clips.labels, clips.kinds, clips.intensities, *parts)


def build(system: str, study: Study, *, seed: int = 0) -> PreTrainedModel:
    """Build a system of a study with its initial weights.

    Raises:
        ValueError: If there is no such system.
    """
    systems = dfer_hf.systems()
    if system not in systems:
        raise ValueError(f"Unknown system {system!r}; expected one of {', '.join(systems)}.")
    config_class = systems[system].config_class
    torch.manual_seed(seed)
    return systems[system](config_class.from_preset("small", **{"image_size": VIEW} | study.model))


def train_recogniser(bank: FaceBank, folder: Path, *, start: Path) -> Path:
    """Fine-tune a frame recogniser on rendered stills, unless `folder` already holds the result.

    Args:
        bank: Training pictures.
        folder: Where the result goes, a checkpoint folder.
        start: Checkpoint it starts from, such as the shipped one.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
    """
    if (folder / "config.json").is_file():
        return folder
    if not (start / "config.json").is_file():
        raise FileNotFoundError(
            f"Expected a checkpoint of a frame recogniser at {start}, found no config.json. "
            "Name one with --recogniser."
        )
    recogniser = FrameResNetForVideoClassification.from_pretrained(start, dtype=torch.float32)
    recogniser.config.image_size = VIEW
    stills = bank.stills()
    fit(recogniser, lambda _generator: stills, dataclasses.replace(RECOGNISER, epoch_length=len(stills.labels)))
    unfinished = folder.with_name(folder.name + ".part")
    recogniser.save_pretrained(unfinished)
    # A folder that is there is whole.
    unfinished.rename(folder)
    return folder


def train_3d_trunk(model: PreTrainedModel, bank: FaceBank, study: Study) -> list[float]:
    """Train the 3D trunk of a system on single pictures, each a clip of one frame."""
    r3d = build("r3d", study)
    trunk = model.get_submodule("trunk")
    r3d.get_submodule("trunk").load_state_dict(trunk.state_dict())
    r3d.config.num_frames = 1
    stills = bank.stills()
    of_stills = dataclasses.replace(
        study,
        num_epochs=study.num_still_epochs,
        epoch_length=len(stills.labels),
        learning_rate=1e-3,
        batch_size=32,
        trunk_share=1.0,
    )
    losses = fit(r3d, lambda _generator: stills, of_stills)
    trunk.load_state_dict(r3d.get_submodule("trunk").state_dict())
    return losses


def examine(system: str, bank: FaceBank, test: NoiseClips, recogniser: Path, output: Path) -> dict[str, Any]:
    """Train a system on the bench and measure it, or read what was measured before.

    Returns:
        What is written to `output/<system>.json`: `figures` of `noise_measures.measure`, the study, which parts were
        pretrained, and the mean loss of each epoch.
    """
    path = output / f"{system}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    study = STUDIES.get(system, Study())
    model = build(system, study)
    taken = start_trunk(model, recogniser)
    if study.num_still_epochs:
        taken.append("trunk on pictures")
        train_3d_trunk(model, bank, study)
    losses = fit(model, lambda generator: bank.compose(study.epoch_length, generator), study)
    observed = observe(model, test)
    result = {
        "system": system,
        "clips": {"train": study.num_epochs * study.epoch_length, "test": len(test.labels)},
        "study": dataclasses.asdict(study),
        "pretrained": taken,
        "losses": losses,
        "figures": measure(observed),
    }
    model.save_pretrained(output / system)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def table(results: list[dict[str, Any]]) -> str:
    """The figures of systems, one column each, with their intervals."""
    rows = [["", *(result["system"] for result in results)]]
    for name in results[0]["figures"]:
        figures: list[Figure] = [result["figures"][name] for result in results]
        rows.append([name, *("{value:.3f} ({low:.3f} to {high:.3f})".format(**figure) for figure in figures)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([LEGEND, *lines]) + "\n"


def main() -> None:
    """Read the command line, make the bench, and train and measure the systems that are not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face-kit", type=Path, required=True, help="ict_facekit.npz")
    parser.add_argument("--systems", nargs="+", default=list(STUDIES), help="model types without their prefix")
    parser.add_argument("--output", type=Path, required=True, help="run folder; give it again to go on")
    parser.add_argument("--recogniser", type=Path, default=shipped_folder("model_cards") / "dfer-frame-resnet-small")
    parser.add_argument("--people", type=int, default=400, help=f"of which {TEST_PEOPLE} are for the test")
    parser.add_argument("--test-clips", type=int, default=TEST_CLIPS)
    parser.add_argument("--processes", type=int, default=2, help="that render")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.systems) - set(dfer_hf.systems()))
    if unknown:
        parser.error(f"unknown systems {', '.join(unknown)}; expected some of {', '.join(dfer_hf.systems())}")
    people = make_bank(arguments.face_kit, arguments.output / "bank", arguments.people, processes=arguments.processes)
    bank, test = split_bank(people, arguments.test_clips)
    recogniser = train_recogniser(bank, arguments.output / "recogniser", start=arguments.recogniser)
    results = []
    for system in arguments.systems:
        results.append(examine(system, bank, test, recogniser, arguments.output))
        sys.stdout.write(table(results[-1:]))
    (arguments.output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))


if __name__ == "__main__":
    main()
