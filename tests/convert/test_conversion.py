"""Converted weights answer as the published network does, written anew in `originals`."""

import pytest
import timm
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.video import r3d_18
from transformers import SwinConfig, SwinModel

from dfer_hf.convert.conversion import KeysError, convert
from dfer_hf.convert.convert_pickle import read_tensors
from dfer_hf.convert.sources import find_source

from ..models.conftest import with_random_statistics
from .originals import FormerDfer, GcaIal, IResNet, M3dfel, RepVgg


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def scattered(network, spread=0.1):
    return with_random_statistics(network, spread=spread).eval()


def converted(name, network, **options):
    return convert(find_source(name), dict(network.state_dict()), **options)


@torch.no_grad()
@pytest.mark.parametrize(("name", "network", "num_frames"), [("former_dfer", FormerDfer, 4), ("m3dfel", M3dfel, 16)])
def test_whole_systems_answer_as_their_authors_code(name, network, num_frames):
    original = scattered(network())
    clips = torch.rand(2, num_frames, 3, 32, 32)
    expected = original(clips)
    assert expected.std(dim=0).mean() > 1e-3
    found = converted(name, original)
    assert not found.has_new_head
    assert not found.left_out
    model = found.model
    # The size of a frame is in no tensor of M3DFEL.
    model.config.image_size = 32
    torch.testing.assert_close(model(pixel_values_videos=clips).logits, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_torchvisions_resnet_answers_each_frame():
    original = scattered(resnet18(num_classes=7), spread=0.02)
    found = converted("frame_resnet", original)
    clip = torch.rand(1, 2, 3, 112, 112)
    expected = original(clip[0])
    assert expected.std() > 1e-3
    torch.testing.assert_close(found.model(pixel_values_videos=clip).frame_logits[0], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.slow
def test_torchvisions_r3d_answers_clips():
    original = scattered(r3d_18(weights=None, num_classes=7), spread=0.01)
    clips = torch.rand(1, 16, 3, 112, 112)
    found = converted("r3d", original)
    expected = original(clips.transpose(1, 2))
    torch.testing.assert_close(found.model(pixel_values_videos=clips).logits, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_gca_ial_shares_with_nr_dfernet_fuses_and_relates_alike():
    original = scattered(GcaIal())
    found = converted("nr_dfernet:gca_ial", original)
    model, parts = found.model, original.s_former
    assert found.drawn == ("trunk", "classifier")
    assert {name.split(".")[1] for name in found.left_out if "fc" not in name} == {
        *("conv1", "bn1", "bias", "layer1", "layer2", "layer3")
    }
    assert (model.config.num_frames, model.config.image_size) == (16, 48)
    maps = torch.randn(2, 16, 16, 3, 3)
    fused = original.fuse(maps)
    assert fused.std() > 1e-2
    torch.testing.assert_close(model.fusion(maps), fused, rtol=1e-4, atol=1e-5)
    # A class token stands before the frames in ours, whose positions are the same.
    embedded = model.temporal_transformer.embed(fused)[:, 1:]
    torch.testing.assert_close(embedded, fused + parts.pos_embedding[:, :15])
    tokens = fused
    for layer in model.temporal_transformer.layers:
        tokens, _ = layer(tokens)
    expected = FormerDfer.transform(parts.temporal_transformer, fused, heads=4)
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


def test_parts_that_gca_ial_has_must_all_be_there():
    state = dict(GcaIal().state_dict())
    del state["s_former.layer4.2.conv1.weight"]
    with pytest.raises(KeysError, match=r"missing: fusion.dynamic_branch.2.layer.0.convolution.weight"):
        convert(find_source("nr_dfernet:gca_ial"), state)


def hrnet():
    """timm's, which has the names of its authors, with FaceX-Zoo's stem, biases and embedding."""
    sizes = [6, 12, 24, 48]
    stages = {
        f"stage{number}": {
            "num_modules": 1,
            "num_branches": number,
            "block_type": "BASIC",
            "num_blocks": (1,) * number,
            "num_channels": tuple(sizes[:number]),
            "fuse_method": "SUM",
        }
        for number in (2, 3, 4)
    }
    first = {
        "num_modules": 1,
        "num_branches": 1,
        "block_type": "BOTTLENECK",
        "num_blocks": (1,),
        "num_channels": (8,),
        "fuse_method": "SUM",
    }
    net = timm.models.hrnet.HighResolutionNet({"stem_width": 8, "stage1": first} | stages, num_classes=0)
    net.conv2.stride = (1, 1)
    net.output_layer = nn.Sequential(nn.Flatten(), nn.Linear(2048, 8, bias=False), nn.BatchNorm1d(8))
    return net


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("iresnet", ""),
        ("iresnet", "backbone."),
        ("repvgg", "module.backbone."),
        pytest.param("hrnet", "module.backbone.", marks=pytest.mark.slow),
    ],
)
def test_backbones_of_facex_zoo_make_the_same_maps(name, prefix, tmp_path):
    original = scattered({"iresnet": IResNet, "repvgg": RepVgg, "hrnet": hrnet}[name]())
    state = {prefix + key: tensor for key, tensor in original.state_dict().items()}
    if prefix:
        state[prefix.replace("backbone", "head") + "weight"] = torch.randn(1000, 16)
    torch.save({"state_dict": state, "epoch": 3, "batch_id": 7}, tmp_path / "epoch.pt")
    found = convert(find_source(f"cfc_sp:{name}"), read_tensors(tmp_path / "epoch.pt"))
    assert found.has_new_head
    (net,) = found.model.coarse_nets
    assert len(found.model.fine_nets) == 0
    # Maps of HRNet are large numbers where weights are random.
    images, net, original = torch.rand(2, 3, 112, 112).double(), net.double(), original.double()
    forward = original.forward_features if name == "hrnet" else original
    expected = forward(images)
    ours = net.head[:4](net.trunk(images)) if name == "repvgg" else net.trunk(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


MS_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.o_proj": "attn.proj",
    "attention.relative_position_bias": "attn",
}


def swin_state(model):
    """transformers' Swin under the names of its authors."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("embeddings."):
            key = name.replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
            state[key.replace("embeddings.norm", "patch_embed.norm")] = tensor
        elif name.startswith("encoder."):
            key = name.removeprefix("encoder.")
            for ours, theirs in MS_NAMES.items():
                key = key.replace(f".{ours}.", f".{theirs}.")
            state[key] = tensor
        else:
            state[name.replace("layernorm", "norm")] = tensor
    for name in [name for name in state if ".q_proj." in name]:
        parts = [state.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        state[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    return state


@torch.no_grad()
def test_swin_of_facex_zoo_makes_the_same_maps():
    """Against transformers' Swin, which is not the library that ours is from."""
    sizes = {"embed_dim": 8, "depths": [2, 2, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 7}
    original = scattered(SwinModel(SwinConfig(image_size=224, **sizes), add_pooling_layer=False), spread=0.3)
    state = swin_state(original) | {"layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49)}
    found = convert(find_source("cfc_sp:swin"), state)
    assert {"norm.weight", "layers.0.blocks.1.attn_mask"} <= set(found.left_out)
    images = torch.rand(1, 3, 224, 224)
    # The last norm is left out.
    original.layernorm = nn.Identity()
    expected = original(images).last_hidden_state.transpose(1, 2).reshape(1, 64, 7, 7)
    torch.testing.assert_close(found.model.coarse_nets[0].trunk(images), expected, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------ classes and refusals


@torch.no_grad()
def test_a_head_of_other_classes_is_drawn_anew_and_the_same_each_time():
    original = resnet18(num_classes=10)
    first, second = (converted("frame_resnet", original) for _ in range(2))
    assert first.has_new_head
    assert set(first.left_out) == {"fc.weight", "fc.bias"}
    assert torch.equal(first.model.classifier.weight, second.model.classifier.weight)
    assert torch.equal(first.model.trunk.embedder.embedder.convolution.weight, original.conv1.weight)


def test_classes_are_named():
    names = ["a", "b", "c"]
    original = resnet18(num_classes=3)
    found = converted("frame_resnet", original, labels=names)
    assert not found.has_new_head
    assert found.model.config.label_names == names
    with pytest.raises(KeysError, match=r"of another shape: classifier.bias of \(7,\), not \(3,\).*--labels"):
        converted("former_dfer", FormerDfer(), labels=names)


def test_the_first_authors_classifier_is_taken():
    state = {f"backbone.{name}": tensor for name, tensor in IResNet().state_dict().items()}
    state |= {"head.fc.weight": torch.randn(5, 24), "head.fc.bias": torch.randn(5)}
    labels = ["neutral", "happiness", "surprise", "other", "negative"]
    found = convert(find_source("cfc_sp:iresnet"), state, labels)
    assert not found.has_new_head
    assert torch.equal(found.model.coarse_nets[0].head[2].weight, state["head.fc.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("t_former.spatial_transformer.layers.1.1.fn.norm.bias"), "missing: temporal_trans"),
        (lambda state: state.update(extra=torch.ones(1)), "unexpected: extra"),
        (lambda state: state.update({"s_former.head.weight": torch.ones(1)}), "unexpected: s_former.head.weight"),
        (lambda state: state.update({"fc.bias": torch.full((7,), torch.nan)}), "NaN or infinite: classifier.bias"),
        (lambda state: state.pop("fc.weight"), "missing: classifier.weight"),
        (lambda state: state.pop("t_former.pos_embedding"), "there is no tensor 't_former.pos_embedding'"),
    ],
    ids=["missing", "stranger", "stranger in the trunk", "NaN", "no head", "another network"],
)
def test_what_does_not_fit_whole_is_refused_by_name(change, message):
    state = dict(FormerDfer().state_dict())
    change(state)
    with pytest.raises(KeysError, match=message):
        convert(find_source("former_dfer"), state)


def test_counters_of_old_files_may_be_missing():
    state = {name: tensor for name, tensor in resnet18().state_dict().items() if "num_batches" not in name}
    assert convert(find_source("frame_resnet"), state).has_new_head
