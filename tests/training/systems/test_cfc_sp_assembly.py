import argparse

import pytest
import torch
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf
from dfer_hf.models.configuration_cfc_sp import EIGHT_LABELS, CfcSpConfig
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from training.systems.cfc_sp_assembly import add_arguments, assemble, main

# The orders differ from those of the whole.
GROUPS = ("negative", "other", "neutral", "surprise", "happiness")
NEGATIVE = ("sadness", "anger", "fear", "disgust")


def train_net(folder, net, labels, *, seed, mean=0.5, **fields):
    """Write the checkpoint that a recipe of one net leaves."""
    torch.manual_seed(seed)
    own = {"id2label": dict(enumerate(labels)), "groups": {label: [label] for label in labels}}
    fields = {"coarse_nets": [net], "smoothing_window": 0} | own | fields
    model = CfcSpForVideoClassification(CfcSpConfig.from_preset("tiny", **fields))
    model.save_pretrained(folder)
    dfer_hf.DferVideoProcessor(image_mean=[mean] * 3).save_pretrained(folder)
    return model.eval()


@pytest.fixture
def trained(tmp_path):
    """Two coarse nets and a negative one, models and checkpoints by their names."""
    runs = {"iresnet": GROUPS, "repvgg": GROUPS, "repvgg_negative": NEGATIVE}
    models = {
        run: train_net(tmp_path / run, run.removesuffix("_negative"), labels, seed=seed)
        for seed, (run, labels) in enumerate(runs.items())
    }
    return models, {run: tmp_path / run for run in runs}


@pytest.fixture
def clips():
    return torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_whole_answers_what_its_nets_do(trained, tmp_path, clips):
    models, checkpoints = trained
    coarse = {net: checkpoints[net] for net in ("repvgg", "iresnet")}
    assemble(tmp_path / "whole", coarse_nets=coarse, fine_nets={"repvgg": checkpoints["repvgg_negative"]})
    whole = AutoModelForVideoClassification.from_pretrained(tmp_path / "whole")
    assert (whole.config.coarse_nets, whole.config.fine_nets) == (["repvgg", "iresnet"], ["repvgg"])
    assert whole.config.label_names == list(EIGHT_LABELS)
    # This is the paper's, which differs from the nets' own.
    assert whole.config.smoothing_window == 256
    groups = list(whole.config.groups)
    for place, net in enumerate(["repvgg", "iresnet"]):
        expected = models[net].classify_frames(models[net].coarse_nets, clips)[0]
        seen = whole.classify_frames([whole.coarse_nets[place]], clips)[0]
        torch.testing.assert_close(seen, expected[..., [GROUPS.index(group) for group in groups]])
    expected = models["repvgg_negative"].classify_frames(models["repvgg_negative"].coarse_nets, clips)
    labels = [EIGHT_LABELS[index] for index in whole.split_labels[0]]
    torch.testing.assert_close(
        whole.classify_frames(whole.fine_nets, clips), expected[..., [NEGATIVE.index(label) for label in labels]]
    )
    assert list(AutoVideoProcessor.from_pretrained(tmp_path / "whole").image_mean) == [0.5] * 3


def test_nets_of_other_classes_are_refused(trained, tmp_path):
    checkpoints = trained[1]
    message = (
        "Expected the fine repvgg to tell apart anger, disgust, fear, sadness, but its classes are anger, fear, "
        r"sadness\. Train it by training/recipes/cfc_sp_aff_wild2_repvgg_negative"
    )
    train_net(tmp_path / "three", "repvgg", ("anger", "fear", "sadness"), seed=1)
    with pytest.raises(ValueError, match=message):
        assemble(
            tmp_path / "whole",
            coarse_nets={"iresnet": checkpoints["iresnet"]},
            fine_nets={"repvgg": tmp_path / "three", "iresnet": train_iresnet(tmp_path)},
        )


def train_iresnet(folder):
    train_net(folder / "iresnet_negative", "iresnet", NEGATIVE, seed=4)
    return folder / "iresnet_negative"


def test_a_checkpoint_that_does_not_hold_its_net_is_named(trained, tmp_path):
    checkpoints = trained[1]
    fine = {"repvgg": checkpoints["repvgg_negative"]}
    with pytest.raises(ValueError, match=r"Expected one repvgg and nothing else in .*, whose nets are iresnet"):
        assemble(tmp_path / "whole", coarse_nets={"repvgg": checkpoints["iresnet"]}, fine_nets=fine)


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    nowhere = {"swin": tmp_path / "nowhere"}
    with pytest.raises(
        ValueError, match=r"in .*nowhere, found none\. Train the coarse swin by training/recipes/cfc_sp_aff_wild2_swin"
    ):
        assemble(tmp_path / "whole", coarse_nets=nowhere, fine_nets=nowhere)


def test_a_checkpoint_of_another_system_is_refused(tmp_path):
    model_class = dfer_hf.systems()["frame_resnet"]
    model_class(model_class.config_class.from_preset("tiny")).save_pretrained(tmp_path / "other")
    other = {"swin": tmp_path / "other"}
    with pytest.raises(
        ValueError, match=r"Expected a checkpoint of CFC-SP .* got a FrameResNetForVideoClassification"
    ):
        assemble(tmp_path / "whole", coarse_nets=other, fine_nets=other)


@pytest.mark.parametrize(
    ("change", "named"), [({"mean": 0.4}, "image_mean"), ({"repvgg_sizes": [8, 12, 16, 32]}, "repvgg_sizes")]
)
def test_nets_that_were_trained_otherwise_are_refused(trained, tmp_path, change, named):
    checkpoints = trained[1]
    train_net(tmp_path / "repvgg_negative", "repvgg", NEGATIVE, seed=1, **change)
    with pytest.raises(ValueError, match=f"the coarse iresnet and the fine repvgg differ in {named}"):
        assemble(
            tmp_path / "whole",
            coarse_nets={"iresnet": checkpoints["iresnet"]},
            fine_nets={"repvgg": checkpoints["repvgg_negative"]},
        )


@pytest.mark.usefixtures("trained")
def test_the_command_line_takes_run_folders_and_checkpoints(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "iresnet").rename(tmp_path / "run" / "checkpoint")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--coarse", f"iresnet={tmp_path / 'run'}", "--fine", f"repvgg={tmp_path / 'repvgg_negative'}"]
    assert main(parser.parse_args([*words, "--output", str(tmp_path / "whole")])) == 0
    config = AutoModelForVideoClassification.from_pretrained(tmp_path / "whole").config
    assert (config.coarse_nets, config.fine_nets, config.smoothing_window) == (["iresnet"], ["repvgg"], 256)
    with pytest.raises(SystemExit):
        parser.parse_args(["--coarse", "vgg=somewhere", "--fine", "repvgg=there", "--output", "whole"])
