"""Choose which weights of a model are trained: all, the head alone, or the head and adapters (LoRA)."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from training.config import TrainConfig
from training.engine.optim import GUIDE


def head_tensors(model: PreTrainedModel) -> set[str]:
    """Return the names of the tensors whose shape follows from the number of classes or groups: the head.

    They are found by adding a class, once as a group of its own and once, for CFC-SP's fine nets, to the largest
    group.
    """
    config, groups = copy.deepcopy(model.config), model.config.groups
    # No class and no group has so long a name.
    further = "-".join([*config.label_names, *groups])
    config.id2label = dict(enumerate([*config.label_names, further]))
    shapes = [_shapes(model, config)]
    largest = max(groups, key=lambda name: len(groups[name]))
    config.groups = groups | {largest: [*groups[largest], further]}
    shapes.append(_shapes(model, config))
    tensors = model.state_dict().items()
    return {name for name, tensor in tensors if any(tensor.shape != of_config[name] for of_config in shapes)}


def _shapes(model: PreTrainedModel, config: Any) -> dict[str, torch.Size]:
    """Return the shape of each tensor that a model of another configuration has."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in type(model)(config).state_dict().items()}


def freeze_parameters(model: PreTrainedModel, config: TrainConfig) -> None:
    """Freeze what the recipe does not train, in place; adapters are added where it asks for them.

    Raises:
        ImportError: If it asks for adapters and `peft` is not installed.
    """
    if config.trainable == "all":
        return
    head = {name for name in head_tensors(model) if not name.startswith(GUIDE)}
    if config.trainable == "lora":
        add_adapters(model, head, config.lora_rank)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head or "lora_" in name)


def add_adapters(model: PreTrainedModel, head: set[str], rank: int) -> None:
    """Add a pair of low-rank matrices to each linear layer and convolution outside the head (Hu et al. 2022).

    Raises:
        ImportError: If `peft` is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            'Expected `peft` for adapters, but it is not installed. Run `pip install --editable ".[lora]"`, or train '
            "without `--lora`."
        ) from error
    targets = [
        name
        for name, module in model.named_modules()
        # peft knows no adapters of grouped convolutions whose rank is no multiple of the groups.
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and f"{name}.weight" not in head
        and not name.startswith(GUIDE)
    ]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), model)


def merge_adapters(model: Any) -> Any:
    """Return a copy of a model with its adapters merged into the weights; the model itself where it has none."""
    if not any("lora_" in name for name, _ in model.named_parameters()):
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer

    merged = copy.deepcopy(model)
    for name, module in list(merged.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(merged.get_submodule(parent), child, module.get_base_layer())
    return merged


def freeze_statistics(model: nn.Module) -> None:
    """Keep the batch statistics of frozen layers as they are; called after each `model.train()`."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not any(each.requires_grad for each in module.parameters()):
            module.eval()
