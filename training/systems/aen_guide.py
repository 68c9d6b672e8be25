"""Fit AEN's guide to other classes than those it was trained on."""

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from dfer_hf.models.modeling_aen import AenForVideoClassification
from training.data.protocols import TrainingSource
from training.engine.optim import GUIDE, TRUNK
from training.engine.pretrained import Taken

MAX_CLIPS = 2000
CLIPS_PER_PASS = 8
DECAY = 1e-3


def fit_guide(model: PreTrainedModel, source: TrainingSource, taken: Sequence[Taken], image_size: int) -> None:
    """Fit the guide's classifier to frames of the training clips, each with the label of its clip.

    AEN's guide is never trained with the rest. Where it starts from a checkpoint of other classes, its features are
    those of the checkpoint, but its classifier would be random; a logistic regression on the features replaces it.

    Args:
        model: Changed in place where it is an AEN whose guide needs it.
        source: The training data, of which at most `MAX_CLIPS` clips are used.
        taken: Which first weights were taken from where.
        image_size: Side of the pictures in pixels.
    """
    names = {name for part in taken for name in part.tensors}
    if not isinstance(model, AenForVideoClassification) or f"{GUIDE}classifier.weight" in names:
        return
    if not any(name.startswith(GUIDE + TRUNK) for name in names):
        return
    guide, every = model.guide.eval(), -(-len(source) // MAX_CLIPS)
    features, labels = [], []
    with torch.no_grad():
        for indices in torch.arange(0, len(source), every).split(CLIPS_PER_PASS):
            batch = source.batch(indices, image_size)
            clips = batch["pixel_values_videos"].to(guide.device)
            maps = guide.trunk(clips.flatten(0, 1)).feature_maps[0]
            features.append(maps.mean(dim=(2, 3)).float())
            labels.append(batch["labels"].to(guide.device).repeat_interleave(clips.shape[1]))
    inputs, targets = torch.cat(features), torch.cat(labels)
    weight = torch.zeros_like(guide.classifier.weight, requires_grad=True)
    bias = torch.zeros_like(guide.classifier.bias, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        total = functional.cross_entropy(functional.linear(inputs, weight, bias), targets)
        total = total + DECAY * weight.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    with torch.no_grad():
        guide.classifier.weight.copy_(weight)
        guide.classifier.bias.copy_(bias)
