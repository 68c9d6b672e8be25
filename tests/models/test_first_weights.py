"""Every layer's first weights against those of the authors' code, whose formulas were read in:

- Former-DFER: zengqunzhao/Former-DFER at 6c28494, `ResNet.__init__` of models/S_Former.py (convolutions normal by
  fan-out, positions of unit variance, linear layers left to torch) and `TFormer.__init__` of models/T_Former.py.
- NR-DFERNet: muse1998/IAL-for-Facial-Expression-Recognition at 243fabe, `ResNet.__init__` of modules.py, likewise.
- M3DFEL: Tencent/TFace at b06c3ea, `M3DFEL.__init__` of attribute/M3DFEL/models/M3DFEL.py and `DMIN.__init__` of
  attribute/M3DFEL/utils.py: all is left to torch but the backbone, which is torchvision's.
- CFC-SP: youqingxiaozhua/ABAW3 at 51ab58a, mmcls/models: `SwinTransformerFaceX._init_weights` of
  backbones/swin_faceX.py, `IRSE._initialize_weights` of backbones/irse.py (Xavier), the `init_cfg` of `RepVGGFaceX`
  in backbones/repvgg_facex.py and of `LinearClsHead` in heads/linear_head.py (0.01). Its HRNet is always loaded and
  draws nothing: ours is drawn by `init_weights` of the code it comes from, JDAI-CV/FaceX-Zoo at 867e6f4,
  backbone/HRNet.py.

AEN, the key-points GCN and the baselines have no public code: they follow Former-DFER's, which their papers build on.
"""

import pytest
import torch
from torch import nn

from dfer_hf.models.modeling_cfc_sp_nets import FrameNet, SwinTrunk
from dfer_hf.models.modeling_iresnet import IResNet

LIKE_FORMER_DFER = ("former_dfer", "nr_dfernet", "aen", "keypoint_gcn", "frame_resnet", "resnet_rnn", "r3d", "m3dfel")
WIDE = {"cfc_sp": {"coarse_nets": ["swin", "iresnet", "hrnet", "repvgg"], "fine_nets": ["repvgg"]}}


def kaiming(layer):
    """As most codes draw convolutions: normal, by what a layer gives to."""
    return (2 / layer.weight[:, 0].numel()) ** 0.5


def torchs_own(layer):
    """As torch draws a layer whose code says nothing: uniform, by what it takes in."""
    return (3 * layer.weight[0].numel()) ** -0.5


def xavier(layer):
    cells = layer.weight[0, 0].numel()
    return (2 / (cells * (layer.in_channels + layer.out_channels))) ** 0.5


def expected_spreads(model):
    """Standard deviation of each layer's weight and bias, as the authors' code draws them."""
    spreads = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            spreads[name] = (kaiming(layer), 0.0)
        elif isinstance(layer, nn.Linear | nn.Conv1d):
            spreads[name] = (torchs_own(layer), torchs_own(layer))
    for name, part in model.named_modules():
        inside = [layer for layer in spreads if layer.startswith(f"{name}.")]
        for layer in inside:
            module = model.get_submodule(layer)
            if isinstance(part, IResNet):
                spreads[layer] = (xavier(module), 0.0)
            elif isinstance(part, SwinTrunk):
                of_linear = isinstance(module, nn.Linear)
                spreads[layer] = (0.02, 0.0) if of_linear else (torchs_own(module), torchs_own(module))
        if isinstance(part, FrameNet):
            spreads[f"{name}.head.{len(part.head) - 1}"] = (0.01, 0.0)
    # Drawn by the width of the state, as torch's cells; seen by a test of their own.
    spreads = {name: spread for name, spread in spreads.items() if "recurrent_layer" not in name}
    # So that `W_a` starts open; the configuration says why.
    return {name: spread for name, spread in spreads.items() if not name.endswith("graph_convolution.narrow")}


@torch.no_grad()
@pytest.mark.parametrize("system", [*LIKE_FORMER_DFER, "cfc_sp"])
def test_layers_start_as_wide_as_in_the_authors_code(system, tiny_model):
    model = tiny_model(system, **WIDE.get(system, {}))
    compared = 0
    for name, (of_weight, of_bias) in expected_spreads(model).items():
        layer = model.get_submodule(name)
        count = layer.weight.numel()
        # Few numbers scatter more: four standard errors.
        assert layer.weight.std() == pytest.approx(of_weight, rel=4 / (2 * count) ** 0.5), name
        if layer.bias is not None and of_bias == 0:
            assert not layer.bias.any(), name
        elif layer.bias is not None and layer.bias.numel() > 10:
            assert layer.bias.std() == pytest.approx(of_bias, rel=4 / (2 * layer.bias.numel()) ** 0.5), name
        compared += 1
    assert compared >= 10


@torch.no_grad()
def test_m3dfels_cells_and_aggregation_are_torchs_own(tiny_model):
    model = tiny_model("m3dfel", lstm_hidden_size=64)
    own = nn.LSTM(64 * 2, 64, num_layers=1)
    for parameter in model.lstm[1].parameters():
        assert parameter.abs().max() <= own.hidden_size**-0.5
        assert parameter.std() == pytest.approx(next(own.parameters()).std().item(), rel=0.2)
    # The code's `nn.Conv1d(bag, 1, 3)`: at most (bag · 3)^-0.5.
    assert model.aggregation.weight.abs().max() <= (model.config.bag_size * 3) ** -0.5


@torch.no_grad()
@pytest.mark.parametrize("system", ["former_dfer", "nr_dfernet", "aen", "keypoint_gcn"])
def test_positions_and_class_tokens_start_with_unit_variance(system, tiny_model):
    model = tiny_model(system)
    drawn = [
        parameter
        for name, parameter in model.named_parameters()
        if name.endswith(("position_embeddings", "class_token")) and parameter.numel() > 20
    ]
    assert drawn
    for parameter in drawn:
        assert parameter.std() == pytest.approx(1, rel=4 / (2 * parameter.numel()) ** 0.5)
