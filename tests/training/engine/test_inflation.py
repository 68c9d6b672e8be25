import pytest
import torch
from torch.nn import functional

import dfer_hf
from training.engine.inflation import half_scale_kernel, inflate_backbone, r3d_name
from training.engine.pretrained import initialise

SIZES = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 2, 1, 1], "image_size": 32}


@pytest.fixture
def recogniser(tmp_path):
    torch.manual_seed(0)
    model_class = dfer_hf.systems()["frame_resnet"]
    model = model_class(model_class.config_class(**SIZES)).train()
    for _ in range(3):
        model(torch.randn(4, 1, 3, 32, 32))
    model.eval().save_pretrained(tmp_path / "recogniser")
    return model


def r3d(system="r3d", **fields):
    torch.manual_seed(1)
    model_class = dfer_hf.systems()[system]
    return model_class(model_class.config_class(**SIZES, num_frames=4, **fields)).eval()


@pytest.mark.usefixtures("recogniser")
def test_every_tensor_of_the_backbone_finds_its_place(tmp_path):
    model = r3d()
    taken = initialise(model, str(tmp_path / "recogniser"))
    trunk = {name for name in model.state_dict() if name.startswith("trunk.")}
    assert set(taken.tensors) == trunk
    assert not taken.left


def test_where_nothing_moves_the_inflated_stages_see_what_the_frames_stages_see(recogniser, tmp_path):
    model = r3d(temporal_strides=[1, 1, 1, 1])
    initialise(model, str(tmp_path / "recogniser"))
    maps = torch.randn(2, 4, 8, 8).relu()
    of_frames = maps
    for stage in recogniser.trunk.encoder.stages:
        of_frames = stage(of_frames)
    still = maps[:, :, None].expand(-1, -1, 4, -1, -1)
    for stage in (model.trunk.layer1, model.trunk.layer2, model.trunk.layer3, model.trunk.layer4):
        still = stage(still)
    for step in still.unbind(dim=2):
        torch.testing.assert_close(step, of_frames)


def test_a_half_scale_kernel_answers_a_small_picture_as_the_whole_answers_the_enlarged_one():
    torch.manual_seed(0)
    kernel, small = torch.randn(2, 3, 7, 7), torch.randn(1, 3, 15, 15)
    enlarged = functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    answers = functional.conv2d(enlarged, kernel, padding=3)[..., ::2, ::2]
    halved = functional.conv2d(small, half_scale_kernel(kernel), padding=3)
    # Beyond the picture the enlarged one repeats its border, and the kernels see zeros.
    torch.testing.assert_close(halved[..., 4:-4, 4:-4], answers[..., 4:-4, 4:-4], rtol=1e-4, atol=1e-4)


def test_other_names_stay():
    assert r3d_name("classifier.weight") == "classifier.weight"
    assert "classifier.weight" in inflate_backbone({"classifier.weight": torch.ones(2)}, {})


@pytest.mark.usefixtures("recogniser")
def test_m3dfel_starts_from_a_frame_recogniser_too(tmp_path):
    model = r3d("m3dfel", lstm_hidden_size=8, num_attention_heads=2)
    assert initialise(model, str(tmp_path / "recogniser")).tensors
