"""Our maps against those of captum and torchcam, on a clip of one frame, which is all that these know."""

import importlib.util

import pytest
import torch
from torch import nn

import dfer_hf
from dfer_hf.explain import Target, contrast_of, grad_cam, layer_cam
from dfer_hf.explain.gradients import log_odds

LAYER = "trunk.encoder.stages.2"
TARGET = Target("fear", "surprise")


def needs(library):
    missing = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"{library} is not installed; the extra `dev` has it.")


class Asked(nn.Module):
    """A system of which one thing is asked: frames `(1, channels, h, w)` to its log-odds, `(1, 1)`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, frames):
        logits = self.model(pixel_values_videos=frames[None]).logits
        return log_odds(contrast_of(TARGET, self.model, logits), logits)[:, None]


@pytest.fixture(scope="module")
def asked():
    model_class = dfer_hf.systems()["frame_resnet"]
    torch.manual_seed(0)
    config = model_class.config_class.from_preset("tiny", image_size=64)
    model = model_class(config).eval()
    with torch.no_grad():
        model.classifier.weight.normal_()
    return Asked(model)


@pytest.fixture(scope="module")
def frames():
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@needs("captum")
def test_gradcam_is_that_of_captum(asked, frames):
    from captum.attr import LayerGradCam

    oracle = LayerGradCam(asked, asked.model.get_submodule(LAYER))
    expected = oracle.attribute(frames, target=0, relu_attributions=True)[:, 0]
    ours = grad_cam(asked.model, frames[None], TARGET, layer=LAYER).maps[0]
    assert expected.max() > 0
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-4, atol=1e-6)


@needs("torchcam")
@pytest.mark.parametrize(("name", "method"), [("LayerCAM", layer_cam), ("GradCAM", grad_cam)])
def test_maps_are_those_of_torchcam(asked, frames, name, method):
    from torchcam import methods

    with getattr(methods, name)(asked, target_layer=f"model.{LAYER}") as oracle:
        (expected,) = oracle(0, asked(frames), normalized=False)
    ours = method(asked.model, frames[None], TARGET, layer=LAYER).maps[0]
    assert expected.max() > 0
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-4, atol=1e-6)
