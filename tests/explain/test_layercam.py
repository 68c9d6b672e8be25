import types

import pytest
import torch
from torch import nn

import dfer_hf
from dfer_hf.explain import layer_cam


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

    def decide(self, logits):
        return logits.argmax(dim=-1)


@pytest.fixture
def clips():
    clips = torch.zeros(2, 3, 3, 16, 16)
    # The second frame of the first clip lights the upper left.
    clips[0, 1, :, :4, :4] = 1.0
    # The third frame of the second clip the lower right.
    clips[1, 2, :, -4:, -4:] = 1.0
    return clips


def hooks_of(model):
    return [hook for module in model.modules() for hook in module._forward_hooks.values()]


def test_the_map_lights_where_the_evidence_lies(clips):
    maps, output = layer_cam(CornerModel(), clips)
    expected = torch.zeros(2, 3, 4, 4)
    expected[0, 1, 0, 0] = expected[1, 2, 3, 3] = 1.0
    torch.testing.assert_close(maps, expected)
    assert output.logits.argmax(dim=-1).tolist() == [1, 2]


def test_a_chosen_class_is_explained_instead_of_the_most_probable():
    clips = torch.ones(2, 3, 3, 16, 16)
    clips[:, :, :, :4, :4] = 2.0
    for target, (row, column) in ((1, (0, 0)), (2, (3, 3))):
        maps, _ = layer_cam(CornerModel(), clips, target=target)
        expected = torch.zeros(2, 3, 4, 4)
        expected[..., row, column] = 1.0
        torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(layer_cam(CornerModel(), clips)[0], layer_cam(CornerModel(), clips, target=1)[0])
    assert layer_cam(CornerModel(), clips, target=0)[0].max() == 0


def test_a_second_call_of_the_layer_does_not_disturb(clips):
    once, _ = layer_cam(CornerModel(), clips)
    twice, _ = layer_cam(CornerModel(calls=2), clips)
    torch.testing.assert_close(once, twice, rtol=0, atol=0)


def test_a_model_that_does_not_say_where_its_evidence_lies_is_refused(clips):
    with pytest.raises(ValueError, match="Expected Linear to name its `evidence_layer`"):
        layer_cam(nn.Linear(2, 2), clips)


def test_hooks_are_removed_even_after_an_error(clips):
    model = CornerModel()
    layer_cam(model, clips)
    assert not hooks_of(model)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        layer_cam(model, clips[..., :2, :])
    assert not hooks_of(model)


@pytest.fixture(params=list(dfer_hf.systems()))
def model(request):
    model_class = dfer_hf.systems()[request.param]
    torch.manual_seed(0)
    return model_class(model_class.config_class.from_preset("tiny")).eval()


@pytest.fixture
def random_clips(model):
    config = model.config
    torch.manual_seed(0)
    return torch.randn(2, config.num_frames, config.num_channels, config.image_size, config.image_size)


def test_maps_of_every_system_run_from_zero_to_one_for_each_frame(model, random_clips):
    maps, output = layer_cam(model, random_clips)
    assert maps.shape[:2] == random_clips.shape[:2]
    assert maps.ndim == 4
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps.min() >= 0
    assert ((maps.amax(dim=(1, 2, 3)) == 1) | (maps.amax(dim=(1, 2, 3)) == 0)).all()
    with torch.no_grad():
        torch.testing.assert_close(output.logits, model(pixel_values_videos=random_clips).logits)


def test_clips_are_explained_apart(model, random_clips):
    together, _ = layer_cam(model, random_clips, target=1)
    for index in range(2):
        alone, _ = layer_cam(model, random_clips[index : index + 1], target=1)
        torch.testing.assert_close(together[index], alone[0], rtol=1e-3, atol=1e-4)


def test_nothing_is_left_behind_in_any_system(model, random_clips):
    layer_cam(model, random_clips)
    assert not hooks_of(model)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_each_place_is_weighed_by_its_own_gradient():
    class Sides(CornerModel):
        """Class 1 is brightness on the left less brightness on the right."""

        def forward(self, pixel_values_videos):
            patches = self.features(pixel_values_videos.flatten(0, 1)).sum(dim=1)
            score = (patches[:, 0, 0] - patches[:, 3, 3])[:, None]
            scores = torch.cat([0 * score, score, 0 * score], dim=1)
            return types.SimpleNamespace(logits=scores.unflatten(0, pixel_values_videos.shape[:2]).mean(dim=1))

    maps, _ = layer_cam(Sides(), torch.ones(1, 2, 3, 16, 16), target=1)
    expected = torch.zeros(1, 2, 4, 4)
    # The lower right is as bright, but speaks against the class.
    expected[..., 0, 0] = 1.0
    torch.testing.assert_close(maps, expected)
