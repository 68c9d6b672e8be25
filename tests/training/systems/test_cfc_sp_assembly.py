import argparse

import pytest
import torch
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf
from dfer_hf.models.configuration_cfc_sp import CfcSpConfig
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from training.systems.cfc_sp_assembly import add_arguments, assemble, main


def train_net(folder, net, *, seed, mean=0.5, **fields):
    """Write the checkpoint that a recipe of one net leaves."""
    torch.manual_seed(seed)
    fields = {"coarse_nets": [net], "fine_nets": [net], "smoothing_window": 0} | fields
    model = CfcSpForVideoClassification(CfcSpConfig.from_preset("tiny", **fields))
    model.save_pretrained(folder)
    dfer_hf.DferVideoProcessor(image_mean=[mean] * 3).save_pretrained(folder)
    return model.eval()


@pytest.fixture
def trained(tmp_path):
    nets = ("iresnet", "repvgg")
    models = {net: train_net(tmp_path / net, net, seed=seed) for seed, net in enumerate(nets)}
    return models, {net: tmp_path / net for net in nets}


@pytest.fixture
def clips():
    return torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_whole_answers_what_its_nets_do(trained, tmp_path, clips):
    models, checkpoints = trained
    assemble(checkpoints, tmp_path / "whole", coarse_nets=["repvgg", "iresnet"], fine_nets=["repvgg"])
    whole = AutoModelForVideoClassification.from_pretrained(tmp_path / "whole")
    assert whole.config.coarse_nets == ["repvgg", "iresnet"]
    # The paper's, unlike the nets' own.
    assert whole.config.smoothing_window == 256
    for place, net in enumerate(["repvgg", "iresnet"]):
        expected = models[net].judge_frames(models[net].coarse_nets, clips)[0]
        torch.testing.assert_close(whole.judge_frames([whole.coarse_nets[place]], clips)[0], expected)
    expected = models["repvgg"].judge_frames(models["repvgg"].fine_nets, clips)
    torch.testing.assert_close(whole.judge_frames(whole.fine_nets, clips), expected)
    assert list(AutoVideoProcessor.from_pretrained(tmp_path / "whole").image_mean) == [0.5] * 3


def test_a_whole_can_be_put_together_anew(trained, tmp_path):
    _, checkpoints = trained
    nets = {"coarse_nets": ["iresnet", "repvgg"], "fine_nets": ["repvgg"]}
    assemble(checkpoints, tmp_path / "first", **nets)
    assemble(dict.fromkeys(checkpoints, tmp_path / "first"), tmp_path / "second", **nets, smoothing_window=4)
    first, second = (AutoModelForVideoClassification.from_pretrained(tmp_path / name) for name in ("first", "second"))
    assert second.config.smoothing_window == 4
    assert all(torch.equal(first.state_dict()[name], tensor) for name, tensor in second.state_dict().items())


def test_a_net_without_a_checkpoint_is_named(trained, tmp_path):
    with pytest.raises(ValueError, match=r"got none for swin\. Train swin by training/recipes/cfc_sp_aff_wild2_swin"):
        assemble(trained[1], tmp_path / "whole", coarse_nets=["swin"], fine_nets=["repvgg"])


def test_a_checkpoint_that_does_not_hold_its_net_is_named(trained, tmp_path):
    checkpoints = {"repvgg": trained[1]["iresnet"]}
    with pytest.raises(
        ValueError, match="Expected repvgg among the `coarse_nets` of its checkpoint, which are iresnet"
    ):
        assemble(checkpoints, tmp_path / "whole", coarse_nets=["repvgg"], fine_nets=["repvgg"])


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"with a config\.json in .*nowhere, found none"):
        assemble({"swin": tmp_path / "nowhere"}, tmp_path / "whole", coarse_nets=["swin"], fine_nets=["swin"])


def test_a_checkpoint_of_another_system_is_refused(tmp_path):
    model_class = dfer_hf.systems()["frame_resnet"]
    model_class(model_class.config_class.from_preset("tiny")).save_pretrained(tmp_path / "other")
    with pytest.raises(
        ValueError, match=r"Expected a checkpoint of CFC-SP .* got a FrameResNetForVideoClassification"
    ):
        assemble({"swin": tmp_path / "other"}, tmp_path / "whole", coarse_nets=["swin"], fine_nets=["swin"])


@pytest.mark.parametrize(
    ("change", "named"), [({"mean": 0.4}, "image_mean"), ({"repvgg_sizes": [8, 12, 16, 32]}, "repvgg_sizes")]
)
def test_nets_that_were_trained_otherwise_are_refused(trained, tmp_path, change, named):
    train_net(tmp_path / "repvgg", "repvgg", seed=1, **change)
    with pytest.raises(ValueError, match=f"iresnet and repvgg differ in {named}"):
        assemble(trained[1], tmp_path / "whole", coarse_nets=["iresnet"], fine_nets=["repvgg"])


@pytest.mark.usefixtures("trained")
def test_the_command_line_takes_run_folders_and_checkpoints(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "iresnet").rename(tmp_path / "run" / "checkpoint")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = [f"iresnet={tmp_path / 'run'}", f"repvgg={tmp_path / 'repvgg'}", "--coarse", "iresnet"]
    assert main(parser.parse_args([*words, "--output", str(tmp_path / "whole")])) == 0
    config = AutoModelForVideoClassification.from_pretrained(tmp_path / "whole").config
    assert (config.coarse_nets, config.fine_nets, config.smoothing_window) == (["iresnet"], ["repvgg"], 256)
    with pytest.raises(SystemExit):
        parser.parse_args(["resnet=somewhere", "--output", "whole"])
