"""The published networks that can be converted: their sizes by their tensors, and what has no place here."""

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..models.configuration_cfc_sp import CfcSpConfig
from .convert_pickle import ConversionError
from .names import (
    former_dfer_name,
    gca_ial_name,
    hrnet_name,
    iresnet_name,
    m3dfel_name,
    r3d_name,
    repvgg_name,
    resnet_name,
    swin_name,
)

Tensors = dict[str, torch.Tensor]
NUM_HEADS = 8
"""Attention heads of Former-DFER and of M3DFEL, which no tensor tells."""
GCA_IAL_HEADS = 4
"""Likewise of GCA+IAL."""


@dataclass(frozen=True)
class Source:
    """A published network.

    Args:
        system: Name of ours.
        origin: Whose weights they are, for the card.
        fields: Of our configuration, by the tensors; raises LookupError where they are of another network.
        rename: Our name of each tensor, by the fields; raises LookupError or ValueError for one it does not have.
        left_out: Pattern of names that have no place here.
        head: What our names of the classifier begin with.
        may_lack_head: Whether the classifier may be of other classes, or missing: a new one is drawn then.
        lacks: Further parts of ours that no file has, and that are drawn.
        normalisation: Mean and standard deviation of the three channels that it wants.
        frames_per_segment: V of the paper: neighbouring frames that it takes together.
        adapt: Changes renamed tensors where ours are otherwise made.
        put_first: What comes before a tensor's name where the system has several nets.
    """

    system: str
    origin: str
    fields: Callable[[Tensors], dict[str, Any]]
    rename: Callable[[Mapping[str, Any]], Callable[[str], str]]
    head: str
    left_out: str = r"(?!)"
    may_lack_head: bool = False
    lacks: tuple[str, ...] = ()
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 3, (1.0,) * 3)
    frames_per_segment: int = 1
    adapt: Callable[[Tensors], Tensors] = lambda tensors: tensors
    put_first: str = ""


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))


def _number_of(tensors: Tensors, pattern: str) -> int:
    """How many units a stage has: one more than the largest number that a pattern finds in names."""
    numbers = [int(match[1]) for name in tensors if (match := re.match(pattern, name))]
    if not numbers:
        raise LookupError(pattern.replace("\\", ""))
    return 1 + max(numbers)


def _stages(tensors: Tensors, stages: str, convolution: str) -> dict[str, Any]:
    """Widths and depths of four stages, whose number `stages` leaves open."""
    names = [stages.format(stage) for stage in (1, 2, 3, 4)]
    return {
        "hidden_sizes": [tensors[f"{name}.0.{convolution}.weight"].shape[0] for name in names],
        "depths": [_number_of(tensors, rf"{re.escape(name)}\.(\d+)\.") for name in names],
    }


def _former_dfer_fields(tensors: Tensors) -> dict[str, Any]:
    fields = _stages(tensors, "s_former.layer{}", "conv1")
    for ours, theirs in (("spatial", "s_former"), ("temporal", "t_former")):
        layers = f"{theirs}.spatial_transformer.layers"
        rows, width = tensors[f"{layers}.0.0.fn.fn.to_qkv.weight"].shape
        fields[f"{ours}_depth"] = _number_of(tensors, rf"{re.escape(layers)}\.(\d+)\.")
        fields |= {f"{ours}_heads": NUM_HEADS, f"{ours}_head_dim": rows // (3 * NUM_HEADS)}
        fields[f"{ours}_mlp_ratio"] = tensors[f"{layers}.0.1.fn.fn.net.0.weight"].shape[0] // width
    fields["image_size"] = 16 * math.isqrt(tensors["s_former.pos_embedding"].shape[1])
    fields["num_frames"] = tensors["t_former.pos_embedding"].shape[1] - 1
    return fields


def _gca_ial_fields(tensors: Tensors) -> dict[str, Any]:
    fields: dict[str, Any] = {"num_heads": GCA_IAL_HEADS, "dynamic_class_token": True, "dynamic_static_fusion": True}
    for ours, theirs in (("spatial", "pos_transformer"), ("temporal", "temporal_transformer")):
        layers = f"s_former.{theirs}.layers"
        rows = tensors[f"{layers}.0.0.fn.fn.to_qkv.weight"].shape[0]
        fields |= {f"{ours}_layers": _number_of(tensors, rf"{re.escape(layers)}\.(\d+)\.")}
        fields |= {f"{ours}_mlp_size": tensors[f"{layers}.0.1.fn.fn.net.0.weight"].shape[0]}
        fields |= {"head_dim": rows // (3 * GCA_IAL_HEADS)}
    width = tensors["s_former.patch_embedding.0.weight"].shape[0]
    # Maps of an odd side are halved to this one.
    side = math.isqrt(tensors["s_former.pos_embedding_pos"].shape[1])
    return fields | {
        "hidden_sizes": [width // 4, width // 2, width],
        "image_size": 16 * (2 * side - 1),
        "num_frames": tensors["s_former.pos_embedding"].shape[1],
    }


def _with_token_first(tensors: Tensors) -> Tensors:
    """GCA+IAL has no class token, and a position too many; ours stands before the frames."""
    name = "temporal_transformer.position_embeddings"
    return tensors | ({name: tensors[name].roll(1, dims=1)} if name in tensors else {})


def _m3dfel_fields(tensors: Tensors) -> dict[str, Any]:
    return _stages(tensors, "features.{}", "conv1.0") | {
        "lstm_hidden_size": tensors["lstm.weight_hh_l0"].shape[1],
        "lstm_layers": _number_of(tensors, r"lstm\.weight_hh_l(\d+)"),
        "num_attention_heads": NUM_HEADS,
        "bag_size": tensors["pwconv.weight"].shape[1],
        "unbiased_variance": True,
    }


def _single_net(net: str, fields: dict[str, Any]) -> dict[str, Any]:
    # One for all, since weights of identities know no groups; training may start a net of any classes from it.
    return fields | {"coarse_nets": [net], "fine_nets": [net], "smoothing_window": 0}


def _iresnet_fields(tensors: Tensors) -> dict[str, Any]:
    num_units = _number_of(tensors, r"body\.(\d+)\.")
    widths = [tensors[f"body.{unit}.res_layer.1.weight"].shape[0] for unit in range(num_units)]
    sizes = list(dict.fromkeys(widths))
    return _single_net("iresnet", {"iresnet_sizes": sizes, "iresnet_depths": [widths.count(size) for size in sizes]})


def _repvgg_fields(tensors: Tensors) -> dict[str, Any]:
    is_fused = "stage0.rbr_reparam.weight" in tensors
    sizes = _stages(tensors, "stage{}", "rbr_reparam" if is_fused else "rbr_dense.conv")
    embedding_size, num_features = tensors["output_layer.2.weight"].shape
    side = 16 * math.isqrt(num_features // sizes["hidden_sizes"][-1])
    net_sizes = CfcSpConfig().net_image_sizes | {"repvgg": side}
    fields = {"repvgg_sizes": sizes["hidden_sizes"], "repvgg_depths": sizes["depths"], "repvgg_fused": is_fused}
    return _single_net("repvgg", fields | {"repvgg_embedding_size": embedding_size, "net_image_sizes": net_sizes})


def _hrnet_fields(tensors: Tensors) -> dict[str, Any]:
    fields = {
        "hrnet_width": tensors["stage2.0.branches.0.0.conv1.weight"].shape[0],
        "hrnet_stem_size": tensors["conv1.weight"].shape[0],
        "hrnet_modules": [_number_of(tensors, rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4)],
        "hrnet_depth": _number_of(tensors, r"stage2\.0\.branches\.0\.(\d+)\."),
        "hrnet_head_size": tensors["incre_modules.0.0.conv1.weight"].shape[0],
    }
    return _single_net("hrnet", fields)


def _swin_fields(tensors: Tensors) -> dict[str, Any]:
    table = "layers.{}.blocks.0.attn.relative_position_bias_table"
    fields = {
        "swin_width": tensors["patch_embed.proj.weight"].shape[0],
        "swin_depths": [_number_of(tensors, rf"layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4)],
        "swin_heads": [tensors[table.format(stage)].shape[1] for stage in range(4)],
        "swin_window": (math.isqrt(tensors[table.format(0)].shape[0]) + 1) // 2,
    }
    return _single_net("swin", fields)


def _flat_norm(tensors: Tensors) -> Tensors:
    """M3DFEL keeps scale and shift as `(1, hidden, 1)`."""
    return {name: tensor.flatten() if name.startswith("norm.") else tensor for name, tensor in tensors.items()}


def _without_biases(*layers: str) -> Callable[[Tensors], Tensors]:
    """Take the biases of layers before a batch norm out: its running mean takes them in, so that answers stay."""

    def adapt(tensors: Tensors) -> Tensors:
        tensors = dict(tensors)
        for layer in layers:
            block, _, place = layer.rpartition(".")
            bias, mean = tensors.pop(f"{layer}.bias", None), f"{block}.{int(place) + 1}.running_mean"
            if bias is not None and mean in tensors:
                tensors[mean] = tensors[mean] - bias
        return tensors

    return adapt


def _with_mmcls_head(rename: Callable[[str], str], head: str) -> Callable[[str], str]:
    """Name the classifier of the first author's code too, which stands beside the backbone."""
    return lambda key: f"{head}{key.removeprefix('head.fc.')}" if key.startswith("head.fc.") else rename(key)


FACEX_ZOO = "JDAI-CV/FaceX-Zoo, or the first author's code of CFC-SP (youqingxiaozhua/ABAW3)"
IDENTITIES = r"head\.(?!fc\.).*"
"""The classifier of identities, beside a backbone."""

_cfc_net = functools.partial(
    Source,
    system="cfc_sp",
    origin=FACEX_ZOO,
    may_lack_head=True,
    normalisation=IMAGENET,
    # One net is all that a file holds.
    put_first="coarse_nets.0.",
)

SOURCES = {
    "former_dfer": Source(
        system="former_dfer",
        origin="the authors' code (zengqunzhao/Former-DFER)",
        fields=_former_dfer_fields,
        rename=lambda _: former_dfer_name,
        head="classifier.",
        frames_per_segment=2,
    ),
    "nr_dfernet:gca_ial": Source(
        system="nr_dfernet",
        origin="GCA+IAL's code (muse1998/IAL-for-Facial-Expression-Recognition)",
        fields=_gca_ial_fields,
        rename=lambda _: gca_ial_name,
        head="classifier.",
        may_lack_head=True,
        lacks=("trunk",),
        # Its stem, and stages with gates; a classifier of the mean of all frames.
        left_out=r"s_former\.(conv1|bn1|layer[123])\..*|s_former\.bias|fc_f\..*",
        adapt=_with_token_first,
    ),
    "m3dfel": Source(
        system="m3dfel",
        origin="the authors' code (Tencent/TFace, attribute/M3DFEL)",
        fields=_m3dfel_fields,
        rename=lambda _: m3dfel_name,
        head="classifier.",
        adapt=_flat_norm,
    ),
    "frame_resnet": Source(
        system="frame_resnet",
        origin="torchvision's ResNet-18, trained on ImageNet, MS-Celeb-1M or faces with labels",
        fields=lambda tensors: _stages(tensors, "layer{}", "conv1"),
        rename=lambda _: resnet_name,
        head="classifier.",
        may_lack_head=True,
        normalisation=IMAGENET,
    ),
    "r3d": Source(
        system="r3d",
        origin="torchvision's R3D-18, trained on Kinetics-400 or clips of faces",
        fields=lambda tensors: _stages(tensors, "layer{}", "conv1.0"),
        rename=lambda _: r3d_name,
        head="classifier.",
        may_lack_head=True,
        normalisation=KINETICS,
    ),
    "cfc_sp:iresnet": _cfc_net(
        fields=_iresnet_fields,
        rename=lambda fields: _with_mmcls_head(iresnet_name(fields["iresnet_depths"]), "head.2."),
        head="head.2.",
        left_out=rf"output_layer\..*|{IDENTITIES}",
    ),
    "cfc_sp:repvgg": _cfc_net(
        fields=_repvgg_fields,
        rename=lambda _: _with_mmcls_head(repvgg_name, "head.4."),
        head="head.4.",
        left_out=IDENTITIES,
        adapt=_without_biases("head.2"),
    ),
    "cfc_sp:hrnet": _cfc_net(
        fields=_hrnet_fields,
        rename=lambda _: _with_mmcls_head(hrnet_name, "head.2."),
        head="head.2.",
        left_out=rf"output_layer\..*|{IDENTITIES}",
        adapt=_without_biases("trunk.shrink.0.0", "trunk.shrink.1.0", "trunk.shrink.2.0", "trunk.merge.0"),
    ),
    "cfc_sp:swin": _cfc_net(
        fields=_swin_fields,
        rename=lambda _: _with_mmcls_head(swin_name, "head.2."),
        head="head.2.",
        left_out=rf"output_layer\..*|norm\..*|layers\.\d+\.blocks\.\d+\.attn_mask|{IDENTITIES}",
    ),
}
"""What `dfer convert` is told to convert, to the network."""


def without_wrapper(tensors: Tensors) -> Tensors:
    """Take `backbone.` off, which training code that keeps a classifier beside the backbone puts before names."""
    if not any(name.startswith("backbone.") for name in tensors):
        return tensors
    return {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}


def find_source(name: str) -> Source:
    """The network that a name stands for.

    Raises:
        ConversionError: If there is none of that name.
    """
    if name not in SOURCES:
        raise ConversionError(f"Unknown system {name!r}: expected one of {', '.join(SOURCES)}.")
    return SOURCES[name]
