import pytest
import torch

import dfer_hf
from training.engine.pretrained import initialise

SIZES = {"image_size": 32, "num_frames": 4}


@pytest.fixture
def recogniser(tmp_path):
    torch.manual_seed(0)
    model_class = dfer_hf.systems()["frame_resnet"]
    model = model_class(model_class.config_class.from_preset("tiny")).eval()
    model.save_pretrained(tmp_path / "recogniser")
    return model


def cascade(**fields):
    torch.manual_seed(1)
    model_class = dfer_hf.systems()["cfc_sp"]
    nets = {"coarse_nets": ["resnet"], "fine_nets": ["resnet"]}
    return model_class(model_class.config_class.from_preset("tiny", **nets | fields)).eval()


@torch.no_grad()
def test_inside_a_group_the_cascade_starts_with_the_answers_of_the_recogniser(recogniser, tmp_path):
    model = cascade(smoothing_window=0)
    taken = initialise(model, str(tmp_path / "recogniser"))
    assert set(taken.tensors) == set(model.state_dict())
    clip = torch.randn(2, 3, 3, 32, 32)
    theirs, ours = recogniser(clip).frame_logits.softmax(-1), model(clip).frame_logits.softmax(-1)
    (members,) = model.split_labels
    for answers in (theirs, ours):
        answers[..., members] /= answers[..., members].sum(dim=-1, keepdim=True)
    torch.testing.assert_close(ours[..., members], theirs[..., members])


@torch.no_grad()
def test_groups_of_one_class_start_with_its_logit(recogniser, tmp_path):
    model = cascade()
    initialise(model, str(tmp_path / "recogniser"))
    frames = torch.randn(2, 3, 32, 32)
    logits = recogniser(frames[:, None]).frame_logits[:, 0]
    groups = model.coarse_nets[0](frames)
    names = list(model.config.groups)
    for group, members in model.config.groups.items():
        labels = [model.config.label_names.index(label) for label in members]
        expected = logits[:, labels].mean(dim=1) + torch.tensor(float(len(labels))).log()
        torch.testing.assert_close(groups[:, names.index(group)], expected)


@pytest.mark.usefixtures("recogniser")
def test_a_cascade_of_other_classes_is_refused(tmp_path):
    labels = dict(enumerate(("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")))
    with pytest.raises(ValueError, match="Expected a frame recogniser of the classes neutral, anger"):
        initialise(cascade(id2label=labels), str(tmp_path / "recogniser"))
