"""Explanations of both engines, of one system of each kind: they see the same masks and leave out the same frames."""

import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf.engines.onnx_engine import OnnxEngine
from dfer_hf.engines.torch_engine import TorchEngine
from dfer_hf.explain import MASKS, ExplainOptions, Target, quarter_runs
from dfer_hf.hub.onnx_export import export_onnx

pytestmark = pytest.mark.slow
# One that takes any number of frames, one that encodes them and takes a fixed number, one that sees them together.
SYSTEMS = {"frame_resnet": True, "aen": False, "r3d": False}


@pytest.fixture(scope="module", params=list(SYSTEMS))
def engines(request, tmp_path_factory):
    """The engine of torch and that of ONNX Runtime."""
    model_class = dfer_hf.systems()[request.param]
    torch.manual_seed(0)
    model = model_class(model_class.config_class.from_preset("tiny", image_size=112)).eval()
    with torch.no_grad():
        # Fresh heads say nearly the same of everything.
        for name, parameter in model.named_parameters():
            if "classifier" in name and parameter.ndim == 2:
                parameter.normal_(std=0.3)
    processor = dfer_hf.DferVideoProcessor(num_frames=model.config.num_frames, every_frame=SYSTEMS[request.param])
    folder = tmp_path_factory.mktemp("graphs") / request.param
    export_onnx(model, processor, folder)
    return TorchEngine(model, processor), OnnxEngine(folder)


@pytest.mark.parametrize("target", [Target(), Target("fear", "surprise"), Target("negative")])
def test_maps_and_losses_are_those_of_torch(engines, target):
    num_frames = engines[0].answer_rules.num_frames
    clip = np.random.default_rng(0).integers(0, 256, (num_frames, 112, 112, 3), dtype=np.uint8)
    left_out = quarter_runs(num_frames)
    expected, own = (engine.explain(clip, ExplainOptions(MASKS, target), left_out=left_out) for engine in engines)
    np.testing.assert_allclose(own.without, expected.without, atol=1e-3)
    strongest = expected.answers.maps.max()
    assert strongest > 0
    np.testing.assert_allclose(own.answers.maps / strongest, expected.answers.maps / strongest, atol=1e-3)
    assert np.abs(expected.without - expected.answers.fine).max() > 1e-4
