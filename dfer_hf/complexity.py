"""Parameters and multiply-adds, counted from shapes: nothing is computed, and weights take no memory."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .models.configuration_dfer import DferConfig, PrintedSize

_PRODUCTS = ("aten.bmm", "aten.baddbmm")


@dataclass(frozen=True)
class Size:
    """What a module holds and takes.

    Args:
        parameters: Numbers that can be learnt, frozen ones included.
        layer_multiply_adds: Of convolutions, linear and recurrent layers; norms, pooling and the like count nothing.
        product_multiply_adds: Of products of batches of matrices, which are those of attention and of graphs.
    """

    parameters: int
    layer_multiply_adds: int
    product_multiply_adds: int


@dataclass(frozen=True)
class MeasuredPreset:
    """A system in one of its sizes.

    Args:
        preset: Name of the size.
        config: Its configuration, with the number of frames and pixels of the clip that was counted.
        size: Of the whole model and one clip.
        parts: Name of each of the model's modules, and of each member of its lists, to what it adds to `size`.
        printed: What was printed of this size; None where nothing was.
    """

    preset: str
    config: DferConfig
    size: Size
    parts: dict[str, Size]
    printed: PrintedSize | None


def measure_preset(model_class: type, preset: str) -> MeasuredPreset:
    """Count one size of a system, for one clip of its own number of frames and pixels.

    Args:
        model_class: One of `dfer_hf.systems()`.
        preset: Name of the size.

    Raises:
        ValueError: If the system has no such preset.
    """
    config = model_class.config_class.from_preset(preset)
    with torch.device("meta"):
        model = model_class(config).eval()
        side = config.image_size
        clip = torch.empty(1, config.num_frames, config.num_channels, side, side)
    size, parts = measure(model, clip)
    return MeasuredPreset(preset, config, size, parts, config.printed.get(preset))


def measure(module: nn.Module, *inputs: torch.Tensor) -> tuple[Size, dict[str, Size]]:
    """Count what a module takes to answer `inputs`.

    Args:
        module: On the meta device, like the inputs, or small enough to be run.
        inputs: What its `forward` is called with.

    Returns:
        The size of the whole, and that of every direct submodule, with lists of modules taken apart.
    """
    # Attention as plain products of matrices: a fused kernel is counted as each version of torch takes it apart.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(*inputs)
    counts = counter.get_flop_counts()
    name = type(module).__name__
    parts = {part: _size(child, f"{name}.{part}", counts) for part, child in _parts(module)}
    return _size(module, "Global", counts), parts


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    parts = []
    for name, child in module.named_children():
        is_list = isinstance(child, nn.ModuleList | nn.ModuleDict)
        members = [(f"{name}.{key}", member) for key, member in child.named_children()]
        parts += members if is_list else [(name, child)]
    return parts


def _size(module: nn.Module, name: str, counts: Mapping[str, Mapping]) -> Size:
    num_layers, num_products = _multiply_adds(module, name, counts)
    return Size(sum(parameter.numel() for parameter in module.parameters()), num_layers, num_products)


def _multiply_adds(module: nn.Module, name: str, counts: Mapping[str, Mapping]) -> tuple[int, int]:
    """Layers' and products' of a module; what is inside is summed where its `forward` was never called."""
    if name not in counts:
        inside = [_multiply_adds(child, f"{name}.{key}", counts) for key, child in module.named_children()]
        return sum(layers for layers, _ in inside), sum(products for _, products in inside)
    # A multiply-add is two of what is counted.
    halves = {str(operation): num_flops // 2 for operation, num_flops in counts[name].items()}
    num_products = sum(half for operation, half in halves.items() if operation.startswith(_PRODUCTS))
    return sum(halves.values()) - num_products, num_products
