"""The R3D-18 baseline against torchvision's, and what it says of frames against its map before pooling."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.video import r3d_18

from dfer_hf.explain import layer_cam
from dfer_hf.models.configuration_r3d import R3dConfig
from dfer_hf.models.modeling_r3d import R3dForVideoClassification

from .conftest import answer, with_random_statistics

LONG = {"num_frames": 16, "temporal_strides": [1, 2, 2, 2]}


@pytest.fixture
def build(tiny_model):
    """A tiny R3D with R3D-18's steps in time and weights far from their first values."""

    def build_with(**fields):
        return with_random_statistics(tiny_model("r3d", **LONG | fields), spread=0.1)

    return build_with


def last_map(model, clips):
    """The map that goes into the average, `(batch, C, steps, h, w)`, and the answer."""
    seen = []
    hook = model.trunk.layer4.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    output = answer(model, clips)
    hook.remove()
    return seen[0].double(), output


@pytest.mark.parametrize("num_frames", [1, 4, 9, 16])
def test_answers_are_torchvisions(num_frames):
    """With nine frames the two last steps in time stand for five frames and for four, and still count alike."""
    torch.manual_seed(0)
    reference = with_random_statistics(r3d_18(weights=None, num_classes=7).eval(), spread=0.01)
    with torch.device("meta"):
        model = R3dForVideoClassification(R3dConfig(num_frames=num_frames, image_size=32)).eval()
    state = reference.state_dict()
    head = {name.removeprefix("fc."): state.pop(name) for name in ("fc.weight", "fc.bias")}
    model.trunk.load_state_dict(state, assign=True)
    model.classifier.load_state_dict(head, assign=True)
    clips = torch.randn(2, num_frames, 3, 32, 32)
    with torch.no_grad():
        expected = reference(clips.transpose(1, 2))
    assert expected.std() > 0.01
    torch.testing.assert_close(answer(model, clips).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_frames", [4, 9, 16])
def test_frames_are_answered_by_their_step_in_time(build, random_clips, num_frames):
    model = build(num_frames=num_frames)
    maps, output = last_map(model, random_clips(model.config))
    num_steps = maps.shape[2]
    assert num_steps == -(-num_frames // 8)
    weight, bias = (tensor.detach().double() for tensor in model.classifier.parameters())
    for clip in range(2):
        steps = [maps[clip, :, step].mean(dim=(1, 2)) for step in range(num_steps)]
        frames_of = [
            [frame for frame in range(num_frames) if frame * num_steps // num_frames == step]
            for step in range(num_steps)
        ]
        total = sum(step.sum() for step in steps)
        mean = torch.zeros(7, dtype=torch.float64)
        for features, frames in zip(steps, frames_of, strict=True):
            logits = weight @ features + bias
            mean += logits / num_steps
            for frame in frames:
                torch.testing.assert_close(output.frame_logits[clip, frame].double(), logits, rtol=1e-4, atol=1e-5)
                part = features.sum() / total / len(frames)
                torch.testing.assert_close(output.frame_weights[clip, frame].double(), part, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(output.logits[clip].double(), mean, rtol=1e-4, atol=1e-5)


def test_frame_weights_are_not_all_the_same(build, random_clips):
    model = build()
    clips = random_clips(model.config)
    clips[:, 8:] *= 4
    weights = answer(model, clips).frame_weights
    assert (weights[:, 8:].sum(dim=1) - weights[:, :8].sum(dim=1) > 0.01).all()


def test_frame_weights_stand_where_nothing_is_active(build, random_clips):
    model = build()
    last = model.trunk.layer4[-1]
    with torch.no_grad():
        for name, parameter in last.named_parameters():
            parameter.fill_(-1.0 if name == "conv2.1.bias" else 0.0)
        for name, parameter in last.downsample.named_parameters():
            parameter.fill_(-1.0 if name == "1.bias" else 0.0)
    maps, output = last_map(model, random_clips(model.config))
    assert maps.abs().sum() == 0
    torch.testing.assert_close(output.frame_weights, torch.full((2, 16), 1 / 16))


def test_steps_in_time_follow_their_setting(build, random_clips):
    for strides, num_steps in (([1, 1, 1, 1], 16), ([1, 2, 1, 1], 8), ([2, 2, 2, 2], 1), ([1, 2, 2, 2], 2)):
        model = build(temporal_strides=strides)
        maps, output = last_map(model, random_clips(model.config))
        assert maps.shape[2] == num_steps
        assert maps.shape[3:] == (2, 2)
        assert len(output.frame_logits[0].unique(dim=0)) == num_steps


def test_the_loss_is_cross_entropy(build, random_clips):
    model = build()
    clips = random_clips(model.config)
    for labels in (torch.tensor([0, 5]), torch.tensor([[0.5, 0.5, 0, 0, 0, 0, 0], [0, 0, 0.2, 0, 0.3, 0, 0.5]])):
        output = answer(model, clips, labels=labels)
        torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, labels))
        assert output.loss_parts == {"cross_entropy": output.loss}


def test_the_order_of_the_frames_matters(build, random_clips):
    model = build()
    clips = random_clips(model.config)
    assert (answer(model, clips).logits - answer(model, clips.flip(1)).logits).abs().max() > 1e-3


def test_evidence_maps_are_of_every_frame(build, random_clips):
    model = build()
    clips = random_clips(model.config)
    found = layer_cam(model, clips)
    maps, output = found.scaled_maps, found.output
    assert maps.shape == (2, 16, 2, 2)
    assert maps.amax() == 1
    torch.testing.assert_close(output.logits.detach(), answer(model, clips).logits)


@pytest.mark.parametrize("name", ["hidden_sizes", "depths", "temporal_strides"])
@pytest.mark.parametrize("values", [[1, 2, 2], [1, 2, 2, 0]])
def test_stages_that_cannot_be_built_are_refused(tiny_config, name, values):
    with pytest.raises(Exception, match=f"`{name}` must have four entries of at least 1"):
        tiny_config("r3d", **{name: values})


def test_the_size_is_torchvisions(monkeypatch):
    with torch.device("meta"):
        model = R3dForVideoClassification(R3dConfig()).eval()
        # Meta tensors hold no values.
        monkeypatch.setattr(model, "check_pixel_values", lambda _clips: None)
        with FlopCounterMode(display=False) as counter:
            model(pixel_values_videos=torch.empty(1, 16, 3, 112, 112))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    printed = R3dConfig.printed["paper"]
    assert parameters + (400 - 7) * 513 == pytest.approx(printed.parameters * 1e6, rel=1e-4)
    assert counter.get_total_flops() / 2 == pytest.approx(printed.multiply_adds * 1e9, rel=1e-3)
