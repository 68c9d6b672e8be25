import numpy as np
import pytest
import torch

from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from training.data.still_dataset import StillSource
from training.datasets.ferplus import load_ferplus
from training.release.package import average_weights, correct_prior, print_curve, seen_share


@pytest.fixture(scope="module")
def faces(corpus):
    """Six stills of one class and one of another."""
    every = load_ferplus(corpus, "train")
    return every.subset(np.concatenate([np.flatnonzero(every.labels == 0), [1]]))


def test_what_training_shows_follows_from_the_weights_of_the_stills_and_their_votes(faces):
    np.testing.assert_allclose(seen_share(StillSource(faces)), faces.votes.mean(axis=0), atol=1e-6)
    evened = (faces.votes[:-1].mean(axis=0) + faces.votes[-1]) / 2
    np.testing.assert_allclose(seen_share(StillSource(faces, balance=1.0)), evened, atol=1e-6)


def test_a_share_of_what_was_seen_is_taken_out_of_the_bias(faces, capsys):
    model = FrameResNetForVideoClassification(FrameResNetConfig.from_preset("tiny", image_size=112)).eval()
    before, seen = model.classifier.bias.detach().clone(), np.full(7, 1 / 14)
    seen[2] = 8 / 14
    print_curve(model, seen, StillSource(faces))
    correct_prior(model, seen, 0.5)
    torch.testing.assert_close(before - model.classifier.bias, 0.5 * torch.from_numpy(np.log(seen)).float())
    assert "prior correction 0.3: WAR" in capsys.readouterr().out


def test_all_classifiers_but_the_frozen_guides_are_corrected():
    model = AenForVideoClassification(AenConfig.from_preset("tiny"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    correct_prior(model, np.full(7, np.exp(-1)), -0.3)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"global_classifier.bias", "fine_classifier.bias"}
    torch.testing.assert_close(model.fine_classifier.bias, before["fine_classifier.bias"] - 0.3)


def test_weights_lie_between_start_and_end_and_new_parts_stay():
    config = FrameResNetConfig.from_preset("tiny")
    start = FrameResNetForVideoClassification(config)
    end = FrameResNetForVideoClassification(FrameResNetConfig.from_preset("tiny", blendshape_names=["jawOpen"]))
    before = {name: tensor.clone() for name, tensor in end.state_dict().items()}
    average_weights(end, start, 0.7)
    for name, tensor in end.state_dict().items():
        if name in start.state_dict():
            expected = before[name].float().lerp(start.state_dict()[name].float(), 0.3)
            torch.testing.assert_close(tensor.float(), expected)
        else:
            assert torch.equal(tensor, before[name])
    assert any("blendshape" in name for name in before)
