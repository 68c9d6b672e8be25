import types

import pytest
import torch
from torch import nn

import dfer_hf
from dfer_hf.explain import grad_cam
from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification

TINY = {"num_frames": 3, "image_size": 64, "hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]}


class Corners(nn.Module):
    """Brightness by patches, `(frames, 2, 4, 4)`: of the upper left corner, and of the lower right."""

    def forward(self, frames):
        patches = nn.functional.avg_pool2d(frames.mean(dim=1, keepdim=True), 4)
        masks = torch.zeros(1, 2, 4, 4)
        masks[0, 0, 0, 0] = masks[0, 1, 3, 3] = 1.0
        return patches * masks


class CornerModel(nn.Module):
    """Class 1 is brightness in the upper left corner, class 2 in the lower right; class 0 is nothing."""

    evidence_layer = "features"

    def __init__(self, calls=1):
        super().__init__()
        self.features = Corners()
        self.calls = calls

    def forward(self, pixel_values_videos):
        frames = pixel_values_videos.flatten(0, 1)
        pooled = self.features(frames).mean(dim=(2, 3))
        for _ in range(self.calls - 1):
            self.features(1 - frames)
        scores = torch.cat([0 * pooled[:, :1], pooled], dim=1)
        return types.SimpleNamespace(logits=scores.unflatten(0, pixel_values_videos.shape[:2]).mean(dim=1))


@pytest.fixture
def clips():
    clips = torch.zeros(2, 3, 3, 16, 16)
    clips[0, 1, :, :4, :4] = 1.0  # the second frame of the first clip lights the upper left
    clips[1, 2, :, -4:, -4:] = 1.0  # the third frame of the second clip the lower right
    return clips


def hooks_of(model):
    return [hook for module in model.modules() for hook in module._forward_hooks.values()]


def test_the_map_lights_where_the_evidence_lies(clips):
    maps, output = grad_cam(CornerModel(), clips)
    expected = torch.zeros(2, 3, 4, 4)
    expected[0, 1, 0, 0] = expected[1, 2, 3, 3] = 1.0
    torch.testing.assert_close(maps, expected)
    assert output.logits.argmax(dim=-1).tolist() == [1, 2]


def test_a_chosen_class_is_explained_instead_of_the_most_probable():
    clips = torch.ones(2, 3, 3, 16, 16)
    clips[:, :, :, :4, :4] = 2.0
    for target, (row, column) in ((1, (0, 0)), (2, (3, 3))):
        maps, _ = grad_cam(CornerModel(), clips, target=target)
        expected = torch.zeros(2, 3, 4, 4)
        expected[..., row, column] = 1.0
        torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(grad_cam(CornerModel(), clips)[0], grad_cam(CornerModel(), clips, target=1)[0])
    assert grad_cam(CornerModel(), clips, target=0)[0].max() == 0


def test_a_second_call_of_the_layer_does_not_disturb(clips):
    once, _ = grad_cam(CornerModel(), clips)
    twice, _ = grad_cam(CornerModel(calls=2), clips)
    torch.testing.assert_close(once, twice, rtol=0, atol=0)


def test_a_model_that_does_not_say_where_its_evidence_lies_is_refused(clips):
    with pytest.raises(ValueError, match="Expected Linear to name its `evidence_layer`"):
        grad_cam(nn.Linear(2, 2), clips)


def test_hooks_are_removed_even_after_an_error(clips):
    model = CornerModel()
    grad_cam(model, clips)
    assert not hooks_of(model)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        grad_cam(model, clips[..., :2, :])
    assert not hooks_of(model)


@pytest.mark.parametrize(
    "model",
    [
        FrameResNetForVideoClassification(FrameResNetConfig(**TINY)).eval(),
        AenForVideoClassification(
            AenConfig(**TINY, temporal_layers=1, temporal_heads=2, temporal_head_dim=8)
        ).eval(),
    ],
    ids=lambda model: model.config.model_type,
)
class TestEverySystem:
    def test_maps_run_from_zero_to_one_for_each_frame(self, model):
        torch.manual_seed(0)
        clips = torch.randn(2, 3, 3, 64, 64)
        maps, output = grad_cam(model, clips)
        assert maps.shape[:2] == (2, 3)
        assert maps.ndim == 4
        assert maps.dtype == torch.float32
        assert not maps.requires_grad
        assert maps.min() >= 0
        assert maps.max() <= 1
        assert ((maps.amax(dim=(1, 2, 3)) == 1) | (maps.amax(dim=(1, 2, 3)) == 0)).all()
        with torch.no_grad():
            torch.testing.assert_close(output.logits, model(pixel_values_videos=clips).logits)

    def test_clips_are_explained_apart(self, model):
        torch.manual_seed(0)
        clips = torch.randn(2, 3, 3, 64, 64)
        together, _ = grad_cam(model, clips, target=1)
        for index in range(2):
            alone, _ = grad_cam(model, clips[index : index + 1], target=1)
            torch.testing.assert_close(together[index], alone[0], rtol=1e-3, atol=1e-4)

    def test_nothing_is_left_behind(self, model):
        grad_cam(model, torch.randn(1, 3, 3, 64, 64))
        assert not hooks_of(model)
        assert all(parameter.grad is None for parameter in model.parameters())


def test_every_system_is_explained_here():
    assert {"aen", "frame_resnet"} <= set(dfer_hf.systems())
