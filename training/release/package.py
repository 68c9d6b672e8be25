"""Package a trained checkpoint for `model_cards`: `python -m training.release.package <run>/checkpoint <folder>`.

A system learns how common each class is in training, and leans to the common ones. `--prior-correction` takes a share
of that out of the biases of its classifiers: each class's logit is lowered by the share times the logarithm of how
often training showed it (Menon et al. 2021, post-hoc adjustment). Where training drew rare classes so often that the
system leans away from the common ones, the share is negative.

What is trained further on other faces forgets some of what it knew. `--average-with` lays its weights between those it
started from and those it ended with, which keeps most of the old and gains most of the new (Wortsman et al. 2022,
WiSE-FT).
"""

import argparse
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf  # noqa: F401  puts our classes into transformers' auto classes
from dfer_hf.checkpoints import find_checkpoint
from dfer_hf.hub.export import export_checkpoint
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from training.config import load_config
from training.data.face_stills import FaceStills
from training.data.moving_mix import MovingMix
from training.data.sources import build_data
from training.data.still_dataset import StillSource, still_logits
from training.engine.optim import GUIDE
from training.evaluation.metrics import Confusion

IMAGE_SIZE = 112
CURVE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def seen_share(source: StillSource | FaceStills | MovingMix) -> np.ndarray:
    """How often training showed each class, `(num_labels,)`, with the weights by which samples are drawn."""
    seen = (source.sampling_weights[:, None] * source.votes).sum(dim=0)
    return (seen / seen.sum()).numpy()


@torch.no_grad()
def correct_prior(model: DferPreTrainedModel, seen: np.ndarray, share: float) -> None:
    """Lower each class's bias by `share · log(seen)`, in every classifier but that of AEN's frozen guide."""
    num_labels = len(model.config.label_names)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module.out_features == num_labels and not name.startswith(GUIDE):
            module.bias.sub_(share * torch.from_numpy(np.log(seen)).float())


@torch.no_grad()
def print_curve(
    model: FrameResNetForVideoClassification, seen: np.ndarray, validation: StillSource | FaceStills
) -> None:
    """Print what shares would give a frame recogniser on validation."""
    logits, names = still_logits(model, validation, IMAGE_SIZE), model.config.label_names
    labels = validation.labels.numpy()
    for candidate in CURVE:
        found = Confusion.of((logits - candidate * np.log(seen)).argmax(axis=1), labels, names)
        figures = f"WAR {100 * found.war:.2f} UAR {100 * found.uar:.2f}"
        sys.stdout.write(f"prior correction {candidate:.1f}: {figures}\n")


def average_weights(model: torch.nn.Module, start: torch.nn.Module, share: float) -> None:
    """Lay weights between those of `start` and the model's own, whose share is given, in place.

    Parts that `start` does not have stay as they are.
    """
    before = start.state_dict()
    for name, tensor in model.state_dict().items():
        if name in before and tensor.is_floating_point():
            tensor.lerp_(before[name], 1 - share)


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="the `checkpoint` folder of a run")
    parser.add_argument("folder", type=Path, help="where to, such as model_cards/dfer-frame-resnet-small")
    parser.add_argument("--prior-correction", type=float, default=0.0, help="share of it that is taken out")
    parser.add_argument("--recipe", type=Path, help="the recipe of the run, for how often it shows each class")
    parser.add_argument("--data-root", type=Path, help="folder of its data, for how common each class is")
    parser.add_argument("--average-with", metavar="CHECKPOINT", help="what training started from")
    parser.add_argument("--average-share", type=float, default=0.7, help="of the trained weights (default: 0.7)")
    arguments = parser.parse_args()
    model = AutoModelForVideoClassification.from_pretrained(arguments.checkpoint, dtype=torch.float32)
    if arguments.average_with is not None:
        start = AutoModelForVideoClassification.from_pretrained(
            find_checkpoint(arguments.average_with), dtype=torch.float32
        )
        average_weights(model, start, arguments.average_share)
    if arguments.prior_correction:
        if arguments.recipe is None or arguments.data_root is None:
            parser.error("--prior-correction needs --recipe and --data-root")
        data = build_data(load_config(arguments.recipe), arguments.data_root, fold=None, prepared_root=None)
        if not isinstance(data.training, StillSource | FaceStills | MovingMix):
            parser.error(
                f"--prior-correction needs a recipe of faces, but {arguments.recipe} is of {data.record['corpus']}"
            )
        seen = seen_share(data.training)
        if isinstance(model, FrameResNetForVideoClassification):
            print_curve(model, seen, cast(FaceStills, data.validation))
        correct_prior(model, seen, arguments.prior_correction)
    processor = AutoVideoProcessor.from_pretrained(arguments.checkpoint)
    export_checkpoint(model, processor, arguments.folder)


if __name__ == "__main__":
    main()
