"""Package a trained checkpoint for `model_cards`: `python -m training.release.package <run>/checkpoint <folder>`.

A frame recogniser learns how common each class is on the web, where most faces are neutral or smile, and leans to
those on other faces. `--prior-correction` takes a share of that out of its classifier's bias: each class's logit is
lowered by the share times the logarithm of how often training showed it (Menon et al. 2021, post-hoc adjustment).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf  # noqa: F401  puts our classes into transformers' auto classes
from dfer_hf.hub.export import export_checkpoint
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from training.config import load_config
from training.data.still_dataset import StillSource, still_logits
from training.datasets.ferplus import FerPlus, load_ferplus
from training.evaluation.metrics import Confusion

IMAGE_SIZE = 112
CURVE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def seen_share(labels: np.ndarray, num_labels: int, balance: float) -> np.ndarray:
    """How often training showed each class, `(num_labels,)`, when it was drawn with exponent `balance`."""
    share = np.bincount(labels, minlength=num_labels) / len(labels)
    seen = share ** (1 - balance)
    return seen / seen.sum()


@torch.no_grad()
def correct_prior(
    model: FrameResNetForVideoClassification, seen: np.ndarray, share: float, validation: FerPlus
) -> None:
    """Lower each class's bias by `share · log(seen)`; print what other shares would have given."""
    logits, names = still_logits(model, StillSource(validation), IMAGE_SIZE), model.config.label_names
    for candidate in CURVE:
        found = Confusion.of((logits - candidate * np.log(seen)).argmax(axis=1), validation.labels, names)
        figures = f"WAR {100 * found.war:.2f} UAR {100 * found.uar:.2f}"
        sys.stdout.write(f"prior correction {candidate:.1f}: {figures}\n")
    model.classifier.bias.sub_(share * torch.from_numpy(np.log(seen)).float())


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="the `checkpoint` folder of a run")
    parser.add_argument("folder", type=Path, help="where to, such as model_cards/dfer-frame-small")
    parser.add_argument("--prior-correction", type=float, default=0.0, help="share, for a frame recogniser")
    parser.add_argument("--recipe", type=Path, help="the recipe of the run, for its class balance")
    parser.add_argument("--data-root", type=Path, help="folder of FER+, for how common each class is")
    arguments = parser.parse_args()
    model = AutoModelForVideoClassification.from_pretrained(arguments.checkpoint, dtype=torch.float32)
    model.config.image_size = IMAGE_SIZE
    if arguments.prior_correction:
        if arguments.recipe is None or arguments.data_root is None:
            parser.error("--prior-correction needs --recipe and --data-root")
        labels = load_ferplus(arguments.data_root, "train").labels
        seen = seen_share(labels, model.config.num_labels, load_config(arguments.recipe).balance)
        correct_prior(model, seen, arguments.prior_correction, load_ferplus(arguments.data_root, "valid"))
    processor = AutoVideoProcessor.from_pretrained(arguments.checkpoint)
    export_checkpoint(model, processor, arguments.folder)


if __name__ == "__main__":
    main()
