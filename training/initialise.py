"""Build a recipe's model, from first weights or from a checkpoint of stills."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

import dfer_hf
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from training.config import TrainConfig


def build_model(config: TrainConfig) -> PreTrainedModel:
    """Build the recipe's model; its weights come from the seed, or from `initialise_from` where it is given.

    Raises:
        ValueError: If the system is unknown, or does not fit the checkpoint.
    """
    systems = dfer_hf.systems()
    if config.system not in systems:
        raise ValueError(f"Unknown system {config.system!r}; expected one of {', '.join(systems)}.")
    model_class = systems[config.system]
    model = model_class(model_class.config_class(**config.model))
    if config.initialise_from is not None:
        initialise_from_stills(model, Path(config.initialise_from))
    return model


@torch.no_grad()
def initialise_from_stills(model: PreTrainedModel, checkpoint: Path) -> list[str]:
    """Start a system from a frame recogniser: its trunk, and its guide where it has one.

    Args:
        model: The system; changed in place.
        checkpoint: Folder of a `frame_resnet` checkpoint of the same widths.

    Returns:
        Names of the parts that were taken.

    Raises:
        ValueError: If the classes or the widths differ, or the system has no such trunk.
    """
    recogniser = FrameResNetForVideoClassification.from_pretrained(checkpoint, dtype=torch.float32)
    if recogniser.config.id2label != model.config.id2label:
        raise ValueError(
            f"Expected the classes {model.config.id2label}, but {checkpoint.name} has {recogniser.config.id2label}."
        )
    if getattr(model.config, "hidden_sizes", None) != recogniser.config.hidden_sizes or not hasattr(
        model, "trunk"
    ):
        raise ValueError(
            f"Expected a system with a trunk of widths {recogniser.config.hidden_sizes}, as {checkpoint.name} has."
        )
    taken = ["trunk"]
    model.get_submodule("trunk").load_state_dict(recogniser.trunk.state_dict())
    if hasattr(model, "guide"):
        model.get_submodule("guide").load_state_dict(recogniser.state_dict())
        taken.append("guide")
    return taken
