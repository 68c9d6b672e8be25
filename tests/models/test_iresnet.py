"""The trunks of CFC-SP that no library has: IResNet and RepVGG, written out again layer by layer."""

import pytest
import torch
from torch import nn

from dfer_hf.models.modeling_iresnet import IResNet, IResNetUnit
from dfer_hf.models.modeling_repvgg import RepVgg, RepVggBlock

from .conftest import with_random_statistics


def normalise(features, norm):
    mean, variance = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    return (features - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


def convolve(features, convolution, stride):
    """Correlate a picture `(channels, h, w)` with a kernel, pixel by pixel."""
    kernel = convolution.weight
    rim = kernel.shape[-1] // 2
    padded = nn.functional.pad(features, [rim] * 4)
    rows = []
    for row in range(0, features.shape[1], stride):
        rows.append([])
        for column in range(0, features.shape[2], stride):
            window = padded[:, row : row + kernel.shape[-1], column : column + kernel.shape[-1]]
            rows[-1].append((kernel * window).sum(dim=(1, 2, 3)))
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)


@torch.no_grad()
@pytest.mark.parametrize(("in_channels", "stride"), [(3, 2), (5, 2), (5, 1)])
def test_a_unit_of_iresnet_is_that_of_arcface(in_channels, stride):
    unit = with_random_statistics(IResNetUnit(in_channels, 5, stride), spread=0.3).double().eval()
    features = torch.randn(in_channels, 6, 6, dtype=torch.float64)
    before, first, slope, second, after = unit.residual
    hidden = convolve(normalise(features, before), first, 1)
    hidden = torch.where(hidden > 0, hidden, slope.weight[:, None, None] * hidden)
    hidden = normalise(convolve(hidden, second, stride), after)
    shortcut = features[:, ::stride, ::stride]
    if in_channels != 5:
        shortcut = normalise(convolve(features, unit.shortcut[0], stride), unit.shortcut[1])
    torch.testing.assert_close(unit(features[None])[0], hidden + shortcut)


@torch.no_grad()
@pytest.mark.parametrize(("in_channels", "stride", "num_branches"), [(3, 2, 2), (5, 2, 2), (5, 1, 3)])
def test_a_block_of_repvgg_sums_its_branches_and_fuses_them(in_channels, stride, num_branches):
    block = with_random_statistics(RepVggBlock(in_channels, 5, stride, fused=False), spread=0.3)
    block = block.double().eval()
    features = torch.randn(in_channels, 6, 6, dtype=torch.float64)
    assert len(block.branches) == num_branches
    expected = sum(
        normalise(convolve(features, convolution, stride), norm)
        if isinstance(convolution, nn.Conv2d)
        else normalise(features, norm)
        for convolution, norm in block.branches
    ).clamp_min(0)
    torch.testing.assert_close(block(features[None])[0], expected)
    block.fuse()
    assert [name for name, _ in block.named_parameters()] == ["convolution.weight", "convolution.bias"]
    torch.testing.assert_close(block(features[None])[0], expected)
    block.fuse()
    torch.testing.assert_close(block(features[None])[0], expected)


@torch.no_grad()
@pytest.mark.parametrize(
    "trunk",
    [IResNet(3, [4, 4, 6, 8], [2, 1, 1, 1]), RepVgg(3, [4, 4, 6, 8], [2, 1, 1, 1], fused=False)],
    ids=["iresnet", "repvgg"],
)
def test_only_the_four_stages_halve_the_picture(trunk):
    sizes = []
    for layer in trunk:
        layer.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[-1]))
    assert trunk.eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 8, 7, 7)
    assert sizes[-5:] == [112, 56, 28, 14, 7]
