import dataclasses
import types

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import dfer_hf
import training.engine.pretrained
from dfer_hf.models.configuration_cfc_sp import EIGHT_LABELS
from dfer_hf.models.configuration_dfer import SEVEN_LABELS
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from dfer_hf.models.modeling_landmark_head import LandmarkHead
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.engine.pretrained import build_model, initialise

from ..runs import CLIPS, STILLS, TRUNK


def tiny(system, **fields):
    model_class = dfer_hf.systems()[system]
    torch.manual_seed(0)
    return model_class(model_class.config_class.from_preset("tiny", **fields))


@pytest.fixture
def recogniser(tmp_path):
    torch.manual_seed(5)
    model = FrameResNetForVideoClassification(FrameResNetConfig(**TRUNK, classifier_dropout=0.2))
    for buffer in model.buffers():
        buffer.add_(3)
    model.save_pretrained(tmp_path / "stills")
    return model


def test_the_first_weights_follow_from_the_seed():
    torch.manual_seed(3)
    first = build_model(STILLS, SEVEN_EMOTIONS)[0].state_dict()
    torch.manual_seed(3)
    second = build_model(STILLS, SEVEN_EMOTIONS)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("config", "parts"), [(STILLS, {"trunk", "classifier"}), (CLIPS, {"trunk", "guide"})], ids=["stills", "clips"]
)
def test_starting_from_stills_copies_trunk_and_guide(recogniser, tmp_path, config, parts):
    config = dataclasses.replace(config, initialise_from=(str(tmp_path / "stills"),))
    model, [taken] = build_model(config, SEVEN_EMOTIONS)
    expected = recogniser.state_dict()
    for name, tensor in model.trunk.state_dict().items():
        assert torch.equal(tensor, expected[f"trunk.{name}"]), name
    if "guide" in parts:
        for name, tensor in model.guide.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
        assert not any(parameter.requires_grad for parameter in model.guide.parameters())
        assert not model.guide.training
    assert {name.split(".")[0] for name in taken.tensors} == parts
    assert not taken.left
    assert f"from {tmp_path / 'stills'}" in str(taken)


def test_a_recipe_cannot_call_the_classes_of_its_data_something_else():
    named = {"id2label": {0: "anger", 1: "happiness"}}
    with pytest.raises(ValueError, match=r"no id2label in \[model\]"):
        build_model(dataclasses.replace(STILLS, model=STILLS.model | named), ["happiness", "anger"])


def test_a_checkpoint_of_the_same_system_gives_what_fits_and_says_what_does_not(tmp_path):
    giver = tiny("m3dfel")
    giver.save_pretrained(tmp_path)
    taker = tiny("m3dfel", id2label=dict(enumerate(SEVEN_LABELS[:4])))
    for parameter in taker.parameters():
        parameter.data.add_(1)
    before = taker.classifier.weight.clone()
    taken = initialise(taker, str(tmp_path))
    assert set(taken.left) == {"classifier.weight", "classifier.bias"}
    assert set(taken.left.values()) == {"other classes"}
    assert "; 2 were left: classifier (other classes)" in str(taken)
    assert torch.equal(taker.classifier.weight, before)
    for name, tensor in taker.trunk.state_dict().items():
        assert torch.equal(tensor, giver.trunk.state_dict()[name]), name


def downloaded(monkeypatch, **models):
    """Replace torchvision's downloads by random weights."""

    def weights(name):
        state = models[name].state_dict()
        return types.SimpleNamespace(DEFAULT=types.SimpleNamespace(get_state_dict=lambda **_: state))

    monkeypatch.setattr(training.engine.pretrained, "get_model_weights", weights)


def test_imagenet_weights_make_the_trunk_see_what_torchvisions_network_sees(monkeypatch):
    torch.manual_seed(1)
    theirs = torchvision.models.resnet18(weights=None).eval()
    downloaded(monkeypatch, resnet18=theirs)
    model = FrameResNetForVideoClassification(FrameResNetConfig()).eval()
    taken = initialise(model, "torchvision/resnet18")
    assert len(taken.tensors) == len(model.trunk.state_dict())
    pixels = torch.randn(2, 3, 64, 64)
    seen = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(pixels))))
    for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        seen = stage(seen)
    torch.testing.assert_close(model.trunk(pixels).feature_maps[-1], seen, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["r3d", "m3dfel"])
def test_kinetics_weights_make_the_trunk_see_what_torchvisions_network_sees(monkeypatch, system):
    theirs = torchvision.models.video.r3d_18(weights=None).eval()
    downloaded(monkeypatch, r3d_18=theirs)
    model_class = dfer_hf.systems()[system]
    model = model_class(model_class.config_class()).eval()
    initialise(model, "torchvision/r3d_18")
    clip = torch.randn(1, 3, 4, 32, 32)
    seen = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(theirs.stem(clip)))))
    ours = model.trunk.layer4(model.trunk.layer3(model.trunk.layer2(model.trunk.layer1(model.trunk.stem(clip)))))
    torch.testing.assert_close(ours, seen)


def test_a_landmark_head_comes_from_its_file_or_from_a_checkpoint(tmp_path):
    model = tiny("keypoint_gcn")
    head = LandmarkHead(width=8)
    save_file(head.state_dict(), tmp_path / "landmark_head.safetensors")
    taken = initialise(model, f"landmarks/{tmp_path / 'landmark_head.safetensors'}")
    assert len(taken.tensors) == len(head.state_dict())
    model.save_pretrained(tmp_path / "checkpoint")
    other = tiny("keypoint_gcn")
    initialise(other, f"landmarks/{tmp_path / 'checkpoint'}")
    for name, tensor in head.state_dict().items():
        assert torch.equal(model.landmark_head.state_dict()[name], tensor), name
        assert torch.equal(other.landmark_head.state_dict()[name], tensor), name


@pytest.mark.usefixtures("recogniser")
@pytest.mark.parametrize(
    ("system", "source", "message"),
    [
        ("frame_resnet", "stills", "Expected .* to fill the whole trunk, but"),
        ("m3dfel", "stills", "Expected .* to fill the whole trunk, but 60 of its 72 tensors differ"),
        ("aen", "aen-of-four", r"Expected the classes \{0: 'happiness'.* of a guide, but .* has"),
        (
            "frame_resnet",
            "m3dfel",
            "Expected a checkpoint of dfer_frame_resnet or of dfer_frame_resnet, but .* dfer_m3dfel",
        ),
        ("frame_resnet", "torchvision/vgg", "Expected torchvision/resnet18 or torchvision/r3d_18"),
        ("frame_resnet", "landmarks/head.safetensors", "none of its tensors does"),
    ],
    ids=["widths", "widths in 3D", "guide", "system", "torchvision", "no head"],
)
def test_a_source_that_does_not_fit_is_refused(tmp_path, monkeypatch, system, source, message):
    monkeypatch.chdir(tmp_path)
    tiny("m3dfel").save_pretrained("m3dfel")
    save_file(LandmarkHead(width=8).state_dict(), "head.safetensors")
    four = FrameResNetForVideoClassification(FrameResNetConfig(**TRUNK, id2label=dict(enumerate(SEVEN_LABELS[:4]))))
    four.save_pretrained("aen-of-four")
    with pytest.raises(ValueError, match=message):
        initialise(tiny(system), source)


def test_classes_beyond_the_seven_find_their_group():
    names = (*SEVEN_EMOTIONS, Emotion.CONTEMPT, Emotion.ANXIETY, Emotion.OTHER)
    config = build_model(STILLS, names)[0].config
    assert config.groups["negative"][-2:] == ["contempt", "anxiety"]
    assert config.groups["other"] == ["other"]
    assert config.id2label[9] == "other"
    assert "other" not in build_model(STILLS, SEVEN_EMOTIONS)[0].config.groups


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_a_cascade_keeps_the_groups_of_its_paper(preset):
    """The groups are not the sentiments, whichever classes a dataset has."""
    config = dataclasses.replace(STILLS, system="cfc_sp", preset=preset, model={})
    for names in (SEVEN_EMOTIONS, tuple(Emotion(label) for label in EIGHT_LABELS)):
        groups = build_model(config, names)[0].config.groups
        assert sorted(groups.pop("negative")) == ["anger", "disgust", "fear", "sadness"]
        assert groups == {name: [name] for name in ("neutral", "happiness", "surprise", "other") if name in names}


def test_a_model_has_the_classes_of_its_data():
    names = (Emotion.ANGER, Emotion.HAPPINESS, Emotion.CONTEMPT)
    model, _ = build_model(STILLS, names)
    assert model.config.label_names == ["anger", "happiness", "contempt"]
    assert model.classifier.out_features == 3
    assert model.config.groups == {"positive": ["happiness"], "negative": ["anger", "contempt"]}


def test_a_field_the_system_does_not_have_is_refused():
    config = dataclasses.replace(STILLS, model=TRUNK | {"dropuot": 0.5})
    with pytest.raises(ValueError, match=r"Expected fields of FrameResNetConfig in \[model\], got \['dropuot'\]"):
        build_model(config, SEVEN_EMOTIONS)


def test_a_classifier_of_other_classes_is_not_taken_for_ours(tmp_path):
    tiny("m3dfel", id2label=dict(enumerate(SEVEN_LABELS[:3]))).save_pretrained(tmp_path)
    taker = tiny("m3dfel", id2label=dict(enumerate(SEVEN_LABELS[3:6])))
    before = taker.classifier.weight.clone()
    taken = initialise(taker, str(tmp_path))
    assert taken.left == {"classifier.weight": "other classes", "classifier.bias": "other classes"}
    assert torch.equal(taker.classifier.weight, before)
