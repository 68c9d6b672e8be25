"""The optimiser of a recipe."""

import torch

from training.config import TrainConfig

TRUNK = "trunk."
"""What the names of a backbone's parameters begin with, after those of the net it is in, such as each of CFC-SP's."""

GUIDE = "guide."
"""What the names of the weights of AEN's guide begin with, which AEN itself keeps frozen."""


def build_optimiser(model: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimiser, with weight decay as the recipe says and a learning rate of its own for the trunk."""
    groups = []
    for in_trunk in (False, True):
        share = config.trunk_learning_rate_share if in_trunk else 1.0
        for decays in (False, True):
            parameters = [
                parameter
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
                and (f".{TRUNK}" in f".{name}") == in_trunk
                and ((parameter.ndim > 1 or config.decay_all) and not name.endswith(config.undecayed)) == decays
            ]
            decay = config.weight_decay if decays else 0.0
            if parameters:
                groups.append({"params": parameters, "lr": config.learning_rate * share, "weight_decay": decay})
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov)
    optimiser = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser]
    return optimiser(groups, lr=config.learning_rate, betas=config.betas)
