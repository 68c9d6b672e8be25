"""The nets of CFC-SP: their sizes, and what is made of timm's."""

import pytest
import torch

from dfer_hf.complexity import measure, measure_preset
from dfer_hf.models import modeling_cfc_sp_nets
from dfer_hf.models.configuration_cfc_sp import CfcSpConfig
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from dfer_hf.models.modeling_cfc_sp_nets import BUILDERS, HrNetTrunk

from .conftest import with_random_statistics


@pytest.mark.parametrize(
    ("name", "fields", "parameters", "multiply_adds"),
    [
        ("iresnet", {}, 57.89, 12.295),
        ("swin", {}, 48.836, 8.511),
        ("hrnet", {}, 19.25, 4.265),
        ("repvgg", {}, 106.752, 13.177),
        ("repvgg", {"repvgg_fused": True}, 101.166, 11.865),
    ],
    ids=["iresnet-152", "swin-s", "hrnet-w18", "repvgg-b1", "repvgg-b1 deployed"],
)
def test_the_papers_nets_have_their_size(name, fields, parameters, multiply_adds):
    config = CfcSpConfig(**fields)
    with torch.device("meta"):
        net = BUILDERS[name](config, 1).eval()
    size, _ = measure(net, torch.zeros(1, 3, config.image_size, config.image_size, device="meta"))
    assert size.parameters / 1e6 == pytest.approx(parameters, rel=3e-4)
    assert size.layer_multiply_adds / 1e9 == pytest.approx(multiply_adds, rel=2e-4)


def test_the_whole_is_as_large_as_its_nets_together():
    size = measure_preset(CfcSpForVideoClassification, "paper").size
    assert size.parameters / 1e6 == pytest.approx(57.89 + 48.836 + 19.246 + 106.752, rel=2e-4)
    assert size.layer_multiply_adds / 1e9 == pytest.approx(16 * (12.295 + 8.511 + 4.265 + 13.177), rel=2e-4)


@torch.no_grad()
def test_hrnet_is_timms_but_for_the_stem(tiny_config):
    """timm's own head, which has one width, gets our weights."""
    config = tiny_config("cfc_sp", hrnet_head_size=32)
    trunk = with_random_statistics(HrNetTrunk(config)).eval()
    ours = trunk.state_dict()
    theirs = type(trunk.branches)(
        {"stem_width": config.hrnet_stem_size}
        | {f"stage{stage}": getattr(trunk.branches, f"stage{stage}_cfg") for stage in (1, 2, 3, 4)},
        head_conv_bias=False,
    ).eval()
    theirs.conv2.stride = (1, 1)
    layers = ["conv1", "bn1", None, "conv2", "bn2", None, "conv3", "bn3"]
    renamed = {}
    for name, tensor in ours.items():
        part, rest = name.split(".", 1)
        if part == "branches":
            renamed[rest] = tensor
        elif part == "widen":
            branch, path, layer, tensor_name = rest.split(".")
            layer_name = f"downsample.{layer}" if path == "shortcut" else layers[int(layer)]
            renamed[f"incre_modules.{branch}.0.{layer_name}.{tensor_name}"] = tensor
        else:
            renamed[{"shrink": "downsamp_modules", "merge": "final_layer"}[part] + "." + rest] = tensor
    missing = theirs.load_state_dict(renamed, strict=False)
    assert set(missing.missing_keys) == {"classifier.weight", "classifier.bias"}
    assert not missing.unexpected_keys
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(trunk(images), theirs.forward_features(images))


def test_swins_buffers_come_back_from_a_model_without_memory(tiny_config, tiny_model):
    with torch.device("meta"):
        model = CfcSpForVideoClassification(tiny_config("cfc_sp"))
    model.to_empty(device="cpu")
    for part in [*model.modules(), *model.parameters(), *model.buffers()]:
        part.__dict__.pop("_is_hf_initialized", None)
    model.init_weights()
    fresh = dict(tiny_model("cfc_sp").named_buffers())
    indices = {name: buffer for name, buffer in model.named_buffers() if name.endswith("position_index")}
    assert len(indices) == sum(model.config.swin_depths)
    for name, buffer in indices.items():
        assert torch.equal(buffer, fresh[name])
        assert buffer.unique().numel() > 1


def test_a_missing_timm_is_named(monkeypatch, tiny_config):
    monkeypatch.setattr(modeling_cfc_sp_nets, "is_timm_available", lambda: False)
    for nets in (["swin"], ["hrnet"]):
        with pytest.raises(ImportError, match=r"pip install dfer-hf\[cfc\]"):
            CfcSpForVideoClassification(tiny_config("cfc_sp", coarse_nets=nets))
    CfcSpForVideoClassification(tiny_config("cfc_sp", coarse_nets=["iresnet"]))
