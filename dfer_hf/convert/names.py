"""What tensors of published networks are called here: one function for each network, from their name to ours.

A function raises LookupError or ValueError for names that its network does not have.
"""

from collections.abc import Callable

RESNET_KINDS = {"conv": "convolution", "bn": "normalization"}
"""Layers of torchvision's ResNet, as transformers calls them."""

TRANSFORMER_LAYER = {
    "0.fn.norm": "norm_before_attention",
    "0.fn.fn.to_qkv": "attention.query_key_value",
    "0.fn.fn.to_out.0": "attention.output",
    "1.fn.norm": "norm_before_mlp",
    "1.fn.fn.net.0": "mlp.0",
    "1.fn.fn.net.3": "mlp.2",
}
"""Parts of a layer of Former-DFER's transformers."""

M3DFEL_PARTS = {
    "to_qkv.weight": "attention.query_key_value.weight",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "norm.mean_weight": "norm.mean_importance",
    "norm.var_weight": "norm.variance_importance",
    "pwconv.weight": "aggregation.weight",
    "pwconv.bias": "aggregation.bias",
    "fc.weight": "classifier.weight",
    "fc.bias": "classifier.bias",
}
"""Tensors of M3DFEL above its LSTM."""

REPVGG_BRANCHES = {
    "rbr_dense.conv": "branches.0.0",
    "rbr_dense.bn": "branches.0.1",
    "rbr_1x1.conv": "branches.1.0",
    "rbr_1x1.bn": "branches.1.1",
    "rbr_identity": "branches.2.1",
    "rbr_reparam": "convolution",
}
"""Layers of a block of RepVGG."""

BOTTLENECK_LAYERS = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}
"""Layers of a bottleneck of HRNet, to their place in ours."""


def backbone_name(key: str) -> str:
    """Return the name that a tensor of torchvision's ResNet has in transformers' ResNet backbone.

    >>> backbone_name("layer2.0.downsample.1.bias")
    'encoder.stages.1.layers.0.shortcut.normalization.bias'
    >>> backbone_name("conv1.weight")
    'embedder.embedder.convolution.weight'
    """
    place, *rest = key.split(".")
    if not place.startswith("layer"):
        return ".".join(["embedder.embedder", RESNET_KINDS[place.rstrip("1")], *rest])
    block, part, *rest = rest
    stage = f"encoder.stages.{int(place.removeprefix('layer')) - 1}.layers.{block}"
    if part == "downsample":
        return ".".join([stage, "shortcut", ("convolution", "normalization")[int(rest[0])], *rest[1:]])
    return ".".join([stage, "layer", str(int(part[-1]) - 1), RESNET_KINDS[part[:-1]], *rest])


def resnet_name(key: str) -> str:
    """Name a tensor of torchvision's ResNet-18 in the frame recogniser."""
    head, _, rest = key.partition(".")
    return f"classifier.{rest}" if head == "fc" else f"trunk.{backbone_name(key)}"


def r3d_name(key: str) -> str:
    """Name a tensor of torchvision's R3D-18, whose names our trunk keeps."""
    head, _, rest = key.partition(".")
    return f"classifier.{rest}" if head == "fc" else f"trunk.{key}"


def transformer_layer_name(key: str) -> str:
    """Name a tensor of a layer of Former-DFER's transformers, which GCA+IAL has too.

    >>> transformer_layer_name("layers.1.0.fn.norm.bias")
    'layers.1.norm_before_attention.bias'
    """
    place, layer_part = key.removeprefix("layers.").split(".", 1)
    name, _, tensor = layer_part.rpartition(".")
    return f"layers.{place}.{TRANSFORMER_LAYER[name]}.{tensor}"


def former_dfer_name(key: str) -> str:
    """Name a tensor of Former-DFER (zengqunzhao/Former-DFER, models/ST_Former.py)."""
    part, _, rest = key.partition(".")
    if part == "fc":
        return f"classifier.{rest}"
    ours = {"s_former": "spatial_transformer", "t_former": "temporal_transformer"}[part]
    embeddings = {"pos_embedding": "position_embeddings", "cls_token": "class_token"}
    if rest in embeddings:
        return f"{ours}.{embeddings[rest]}"
    if rest.startswith("spatial_transformer.layers."):
        return f"{ours}.{transformer_layer_name(rest.removeprefix('spatial_transformer.'))}"
    if part == "t_former":
        raise LookupError(key)
    return f"trunk.{backbone_name(rest)}"


def gca_ial_name(key: str) -> str:
    """Name a tensor of GCA+IAL (muse1998/IAL-for-Facial-Expression-Recognition, modules.py) in NR-DFERNet.

    Only the fusion of differences and frames, and the temporal transformer, are the same in both.
    """
    part, _, rest = key.removeprefix("s_former.").partition(".")
    embeddings = {"pos_embedding_pos": "fusion.static_transformer", "pos_embedding": "temporal_transformer"}
    if part in embeddings:
        return f"{embeddings[part]}.position_embeddings"
    if part == "patch_embedding":
        place, _, tensor = rest.partition(".")
        return f"fusion.down_convolution.{('convolution', 'normalization')[int(place)]}.{tensor}"
    if part == "layer4":
        return backbone_name(f"layer1.{rest}").replace("encoder.stages.0.layers", "fusion.dynamic_branch")
    ours = {"pos_transformer": "fusion.static_transformer", "temporal_transformer": "temporal_transformer"}[part]
    return f"{ours}.{transformer_layer_name(rest)}"


def m3dfel_name(key: str) -> str:
    """Name a tensor of M3DFEL (Tencent/TFace, attribute/M3DFEL/models/M3DFEL.py)."""
    part, _, rest = key.partition(".")
    if part == "features":
        place, _, rest = rest.partition(".")
        return f"trunk.{['stem', 'layer1', 'layer2', 'layer3', 'layer4'][int(place)]}.{rest}"
    if part == "lstm":
        # Such as weight_ih_l1_reverse.
        kind, gate, layer, *reverse = rest.split("_")
        direction = "backwards" if reverse else "forwards"
        return f"lstm.{int(layer.removeprefix('l'))}.{direction}.{kind}_{gate}"
    return M3DFEL_PARTS[key]


def iresnet_name(depths: list[int]) -> Callable[[str], str]:
    """Name tensors of an IResNet (FaceX-Zoo's and face.evoLVe's IR) whose units stand in one row.

    Args:
        depths: Units of its stages.
    """
    # After the three layers of the stem.
    places = [f"{3 + stage}.{unit}" for stage, depth in enumerate(depths) for unit in range(depth)]

    def name(key: str) -> str:
        part, _, rest = key.partition(".")
        if part == "input_layer":
            return f"trunk.{rest}"
        if part != "body":
            raise LookupError(key)
        unit, branch, rest = rest.split(".", 2)
        return f"trunk.{places[int(unit)]}.{ {'res_layer': 'residual', 'shortcut_layer': 'shortcut'}[branch] }.{rest}"

    return name


def repvgg_name(key: str) -> str:
    """Name a tensor of FaceX-Zoo's RepVGG, whose embedding layer CFC-SP keeps."""
    part, _, rest = key.partition(".")
    if part == "output_layer":
        return f"head.{rest}"
    stage = int(part.removeprefix("stage"))
    if stage:
        block, _, rest = rest.partition(".")
    place = f"{stage}.{block}" if stage else "0"
    layer, _, tensor = rest.rpartition(".")
    return f"trunk.{place}.{REPVGG_BRANCHES[layer]}.{tensor}"


def hrnet_name(key: str) -> str:
    """Name a tensor of FaceX-Zoo's HRNet."""
    part, _, rest = key.partition(".")
    if part == "incre_modules":
        branch, block, layer, rest = rest.split(".", 3)
        if block != "0":
            raise LookupError(key)
        if layer == "downsample":
            return f"trunk.widen.{branch}.shortcut.{rest}"
        return f"trunk.widen.{branch}.residual.{BOTTLENECK_LAYERS[layer]}.{rest}"
    if part in ("downsamp_modules", "final_layer"):
        return f"trunk.{ {'downsamp_modules': 'shrink', 'final_layer': 'merge'}[part] }.{rest}"
    return f"trunk.branches.{key}"


def swin_name(key: str) -> str:
    """Name a tensor of FaceX-Zoo's Swin, whose stages end in the merging that timm's begin with."""
    part, _, rest = key.partition(".")
    if part == "patch_embed":
        return f"trunk.{key}"
    if part != "layers":
        raise LookupError(key)
    stage, below, rest = rest.split(".", 2)
    if below == "downsample":
        stage = str(int(stage) + 1)
    return f"trunk.layers.{stage}.{below}.{rest}"
