import types

import pytest
import torch
from torch import nn

import dfer_hf

SYSTEMS = dfer_hf.systems()


class Corners(nn.Module):
    """Brightness by patches, `(frames, 2, 4, 4)`: of the upper left corner, and of the lower right."""

    def forward(self, frames):
        patches = nn.functional.avg_pool2d(frames.mean(dim=1, keepdim=True), 4)
        masks = torch.zeros(1, 2, 4, 4)
        masks[0, 0, 0, 0] = masks[0, 1, 3, 3] = 1.0
        return patches * masks


class CornerModel(nn.Module):
    """Class 1 is brightness in the upper left corner, class 2 in the lower right; class 0 is nothing."""

    evidence_layer, last_map_layer, spatial_attention = "features", None, None
    sees_frames_apart = takes_any_length = False
    config = types.SimpleNamespace(label_names=["none", "upper", "lower"], groups={})

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
def corner_clips():
    clips = torch.zeros(2, 3, 3, 16, 16)
    # The second frame of the first clip lights the upper left.
    clips[0, 1, :, :4, :4] = 1.0
    # The third frame of the second clip the lower right.
    clips[1, 2, :, -4:, -4:] = 1.0
    return clips


@pytest.fixture(scope="session")
def corner_model():
    return CornerModel


@pytest.fixture(scope="module", params=list(SYSTEMS))
def model(request):
    model_class = SYSTEMS[request.param]
    torch.manual_seed(0)
    return model_class(model_class.config_class.from_preset("tiny")).eval()


@pytest.fixture(scope="module")
def clips(model):
    config = model.config
    generator = torch.Generator().manual_seed(1)
    shape = (2, config.num_frames, config.num_channels, config.image_size, config.image_size)
    return torch.randn(shape, generator=generator)


@pytest.fixture(scope="session")
def hooks_of():
    def find(model):
        return [
            hook
            for module in model.modules()
            for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        ]

    return find
