import types

import pytest
import torch
from torch import nn

from dfer_hf.explain import Target, grad_cam, layer_cam


def test_the_map_lights_where_the_evidence_lies(corner_model, corner_clips):
    found = layer_cam(corner_model(), corner_clips)
    expected = torch.zeros(2, 3, 4, 4)
    expected[0, 1, 0, 0] = expected[1, 2, 3, 3] = 1.0
    torch.testing.assert_close(found.scaled_maps, expected)
    assert found.output.logits.argmax(dim=-1).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("target", "place"),
    [(Target("upper"), (0, 0)), (Target("lower"), (3, 3)), (Target("lower", "none"), (3, 3)), (Target(), (0, 0))],
)
def test_what_is_asked_for_is_explained(corner_model, target, place):
    clips = torch.ones(2, 3, 3, 16, 16)
    clips[:, :, :, :4, :4] = 2.0
    expected = torch.zeros(2, 3, 4, 4)
    expected[(..., *place)] = 1.0
    torch.testing.assert_close(layer_cam(corner_model(), clips, target).scaled_maps, expected)


def test_what_nothing_speaks_for_has_an_empty_map(corner_model):
    found = layer_cam(corner_model(), torch.ones(1, 3, 3, 16, 16), Target("none"))
    assert found.maps.max() == found.scaled_maps.max() == 0


def test_a_second_call_of_the_layer_does_not_disturb(corner_model, corner_clips):
    once = layer_cam(corner_model(), corner_clips)
    twice = layer_cam(corner_model(calls=2), corner_clips)
    torch.testing.assert_close(once.maps, twice.maps, rtol=0, atol=0)


def test_hooks_are_removed_even_after_an_error(corner_model, corner_clips, hooks_of):
    model = corner_model()
    layer_cam(model, corner_clips)
    assert not hooks_of(model)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        layer_cam(model, corner_clips[..., :2, :])
    assert not hooks_of(model)


def test_layercam_weighs_each_place_by_its_own_gradient_and_gradcam_by_their_mean(corner_model):
    class Sides(corner_model):
        """Class 1 is brightness on the left less half the brightness on the right."""

        def forward(self, pixel_values_videos):
            patches = self.features(pixel_values_videos.flatten(0, 1)).sum(dim=1, keepdim=True)
            score = (patches[:, 0, 0, 0] - 0.5 * patches[:, 0, 3, 3])[:, None]
            scores = torch.cat([0 * score, score, 0 * score], dim=1)
            return types.SimpleNamespace(logits=scores.unflatten(0, pixel_values_videos.shape[:2]).mean(dim=1))

    class Sum(nn.Module):
        """The corners in one channel."""

        def __init__(self, corners):
            super().__init__()
            self.corners = corners

        def forward(self, frames):
            return self.corners(frames).sum(dim=1, keepdim=True)

    model = Sides()
    model.features = Sum(model.features)
    clips = torch.ones(1, 2, 3, 16, 16)
    expected = torch.zeros(1, 2, 4, 4)
    # The lower right is as bright, but speaks against the class.
    expected[..., 0, 0] = 1.0
    torch.testing.assert_close(layer_cam(model, clips, Target("upper")).scaled_maps, expected)
    # In the mean the channel speaks for it, so both of its bright places do.
    expected[..., 3, 3] = 1.0
    torch.testing.assert_close(grad_cam(model, clips, Target("upper")).scaled_maps, expected)
