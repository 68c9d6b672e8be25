import math

import pytest
import torch

import dfer_hf
from dfer_hf.explain import (
    SPATIAL_METHODS,
    Target,
    UnknownMethodError,
    UnknownTargetError,
    explain_places,
    methods_for,
)
from dfer_hf.explain.attention import attention_rollout
from dfer_hf.explain.key_points import key_point_evidence
from dfer_hf.explain.mask_evidence import evidence_of_pixel_values

FAST_METHODS = [name for name in SPATIAL_METHODS if name != "masks"]


def tiny(system, **fields):
    model_class = dfer_hf.systems()[system]
    torch.manual_seed(0)
    return model_class(model_class.config_class.from_preset("tiny", **fields)).eval()


@pytest.mark.parametrize("method", FAST_METHODS)
def test_every_method_gives_each_frame_a_map_and_leaves_the_answer_alone(model, clips, method, hooks_of):
    if method not in methods_for(model):
        with pytest.raises(UnknownMethodError, match=f"one of .*layercam.*got '{method}'"):
            explain_places(model, clips, method=method)
        return
    implementation = model.config._attn_implementation
    found = explain_places(model, clips, Target("fear", "surprise"), method=method)
    assert found.maps.shape[:2] == clips.shape[:2]
    assert found.maps.ndim == 4
    assert found.maps.dtype == torch.float32
    assert not found.maps.requires_grad
    assert found.maps.min() >= 0
    largest = found.scaled_maps.amax(dim=(1, 2, 3))
    assert ((largest == 1) | (largest == 0)).all()
    with torch.no_grad():
        torch.testing.assert_close(found.output.logits, model(pixel_values_videos=clips).logits, rtol=1e-4, atol=1e-5)
    assert (found.encoded is not None) == model.sees_frames_apart
    assert not hooks_of(model)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.config._attn_implementation == implementation


@pytest.mark.parametrize("method", ["layercam", "attention", "keypoints"])
def test_clips_are_explained_apart(model, clips, method):
    if method not in methods_for(model):
        pytest.skip("It is not offered for this system.")
    if model.config.model_type == "dfer_cfc_sp":
        pytest.skip("It sees frames alone, in four nets that take long.")
    target = Target("sadness")
    together = explain_places(model, clips, target, method=method).scaled_maps
    alone = explain_places(model, clips[1:], target, method=method).scaled_maps
    torch.testing.assert_close(together[1], alone[0], rtol=1e-2, atol=1e-3)


def test_the_default_is_offered_for_every_system(model):
    assert methods_for(model)[0] == model.map_method


def test_a_method_is_offered_where_it_can_be_and_shows_more_than_chance():
    offered = {name: methods_for(tiny(name)) for name in ("former_dfer", "nr_dfernet", "keypoint_gcn", "r3d")}
    assert [name for name, methods in offered.items() if "attention" in methods] == ["nr_dfernet"]
    assert [name for name, methods in offered.items() if "gradcam" in methods] == ["former_dfer", "r3d"]
    assert [name for name, methods in offered.items() if "keypoints" in methods] == ["keypoint_gcn"]


def test_an_unknown_class_is_refused_before_anything_is_drawn():
    model = tiny("frame_resnet")
    with pytest.raises(UnknownTargetError, match="got 'joy'"):
        explain_places(model, torch.zeros(1, 4, 3, 32, 32), Target("joy"))


def test_attention_of_a_system_without_any_between_places_is_refused_by_name():
    with pytest.raises(UnknownMethodError, match="Expected a system with attention between the places of a frame"):
        attention_rollout(tiny("aen"), torch.zeros(1, 16, 3, 32, 32))


def test_attention_depends_on_what_is_asked():
    model = tiny("former_dfer", image_size=64)
    clips = torch.randn(1, model.config.num_frames, 3, 64, 64)
    one = attention_rollout(model, clips, Target("fear")).scaled_maps
    other = attention_rollout(model, clips, Target("happiness")).scaled_maps
    assert one.shape[-1] == math.ceil(64 / 16)
    assert (one - other).abs().max() > 0.01


def test_key_points_add_up_to_the_answer_to_first_order():
    model = tiny("keypoint_gcn", graph_convolution=False, temporal="none", fusion="mean")
    clips = torch.randn(1, model.config.num_frames, 3, 32, 32)
    found = key_point_evidence(model, clips, Target("fear", "surprise"))
    num_frames = model.config.num_frames
    assert found.points.shape == (1, num_frames, 18, 2)
    assert found.weights.shape == (1, num_frames, 18)
    # Without graph and transformer the answer is a piecewise linear function of the features, whose offset is that of
    # its two layers.
    with torch.no_grad():
        hidden = model.graph_convolution.narrow
        labels = model.config.label_names
        fear, surprise = (model.spatial_classifier.weight[labels.index(name)] for name in ("fear", "surprise"))
        offset = (
            model.spatial_classifier.bias[labels.index("fear")]
            - model.spatial_classifier.bias[labels.index("surprise")]
        )
        nodes = record_nodes(model, clips)  # (frames, 19, node)
        offset = offset + (((nodes > 0) * hidden.bias).mean(dim=(0, 1)) * (fear - surprise)).sum()
        logits = model(pixel_values_videos=clips).logits[0]
        expected = logits[labels.index("fear")] - logits[labels.index("surprise")] - offset
    total = found.weights.sum() + found.whole_face.sum()
    torch.testing.assert_close(total, expected, rtol=1e-3, atol=1e-4)
    assert sum(found.regions.values()).sum() == pytest.approx(found.weights.sum().item(), abs=1e-5)


def record_nodes(model, clips):
    seen = []
    hook = model.graph_convolution.register_forward_hook(lambda _part, _inputs, output: seen.append(output))
    model(pixel_values_videos=clips)
    hook.remove()
    return seen[0]


def test_masks_find_the_place_and_the_frames_that_count(corner_model):
    clips = torch.zeros(1, 4, 3, 16, 16)
    clips[:, 2:, :, :4, :4] = 1.0
    clips[:, :, :, 6:8, 6:8] = 1.0
    found = evidence_of_pixel_values(corner_model(), clips, Target("upper"), num_masks=300)
    maps = found.scaled_maps[0]  # (frames, side, side)
    counts, idle = maps[2:, :6, :6].mean(), maps[2:, 14:, 14:].mean()
    assert counts > 3 * idle
    assert maps[3].mean() > 2 * maps[0].mean()


@pytest.mark.parametrize("system", ["frame_resnet", "r3d"])
def test_masks_explain_clips_apart_whether_or_not_frames_are_encoded_alone(system):
    model = tiny(system)
    config = model.config
    shape = (2, config.num_frames, 3, config.image_size, config.image_size)
    clips = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = evidence_of_pixel_values(model, clips, num_masks=6)
    alone = evidence_of_pixel_values(model, clips[1:], num_masks=6)
    assert found.maps.max() > 0
    torch.testing.assert_close(found.maps[1], alone.maps[0], rtol=1e-2, atol=1e-4)
    assert (found.encoded is not None) == model.sees_frames_apart
