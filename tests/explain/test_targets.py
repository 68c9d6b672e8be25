import types

import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf.explain import EmptyContrastError, Target, UnknownTargetError, contrast_of
from dfer_hf.explain.gradients import log_odds
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig

PROBABILITIES = {
    "happiness": 0.1, "sadness": 0.2, "neutral": 0.05, "anger": 0.05, "surprise": 0.25, "disgust": 0.05, "fear": 0.3
}  # fmt: skip
CLASSES = FrameResNetConfig()


@pytest.fixture(scope="module")
def logits():
    row = np.log([PROBABILITIES[label] for label in CLASSES.label_names])
    return np.stack([row, row[::-1]])


@pytest.fixture(scope="module")
def answers(logits):
    return logits.argmax(axis=-1)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(), 0.3),
        (Target("fear"), 0.3),
        (Target("sadness"), 0.2),
        (Target("negative"), 0.6),
        (Target("neutral"), 0.05),
        (Target("fear", "surprise"), 0.3 / 0.55),
        (Target("surprise", "negative"), 0.25 / 0.85),
        (Target("positive", "negative"), 0.35 / 0.95),
    ],
)
def test_a_target_is_the_probability_of_what_it_names(logits, answers, target, expected):
    contrast = target.resolve(CLASSES, answers)
    assert contrast.probability(logits)[0] == pytest.approx(expected, abs=1e-9)
    assert contrast.log_odds(logits)[0] == pytest.approx(np.log(expected / (1 - expected)), abs=1e-9)


def test_each_clip_is_asked_for_its_own_answer(answers):
    assert Target().resolve(CLASSES, answers).towards.argmax(axis=1).tolist() == answers.tolist()


def test_the_answer_is_that_of_the_rule_that_decides():
    model_class = dfer_hf.systems()["frame_resnet"]
    model = model_class(model_class.config_class.from_preset("tiny", coarse_first=True)).eval()
    row = torch.tensor([[0.4, 0.2, 0.0, 0.2, 0.0, 0.0, 0.2]]).clamp_min(1e-6).log()
    chosen = contrast_of(Target(), model, row).towards[0].nonzero()[0].item()
    assert model.config.label_names[chosen] in model.config.groups["negative"]


def test_variants_of_a_clip_are_compared_with_the_answer_of_the_whole(logits, answers):
    contrast = Target().resolve(CLASSES, answers)
    variants = np.stack([logits, logits[::-1]], axis=1)  # (clips, variants, labels)
    assert contrast.log_odds(variants).shape == (2, 2)
    np.testing.assert_allclose(contrast.log_odds(variants)[:, 0], contrast.log_odds(logits))


def test_what_all_logits_gain_changes_nothing(logits, answers):
    contrast = Target("fear", "surprise").resolve(CLASSES, answers)
    np.testing.assert_allclose(contrast.log_odds(logits + 5), contrast.log_odds(logits))


def test_a_probability_is_a_number_however_sure_the_answer():
    logits = np.zeros((2, 7))
    logits[0, 3], logits[1, 3] = 2000, -2000
    contrast = Target("anger").resolve(CLASSES, np.array([3, 0]))
    assert contrast.probability(logits).tolist() == [1, 0]


@pytest.mark.parametrize("target", [Target(), Target("fear", "surprise"), Target("negative")])
def test_odds_with_a_gradient_are_the_same(logits, answers, target):
    contrast = target.resolve(CLASSES, answers)
    np.testing.assert_allclose(log_odds(contrast, torch.from_numpy(logits)), contrast.log_odds(logits), rtol=1e-5)


def test_a_sure_answer_still_has_a_gradient():
    logits = torch.zeros(1, 7)
    logits[0, 3] = 60
    logits.requires_grad_()
    log_odds(Target().resolve(CLASSES, np.array([3])), logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 3].item() == pytest.approx(1)


@pytest.mark.parametrize("target", [Target("joy"), Target("fear", "joy")])
def test_an_unknown_name_is_refused_with_those_there_are(answers, target):
    with pytest.raises(UnknownTargetError, match=r"happiness.*or a group .positive, neutral, negative.*got 'joy'"):
        target.resolve(CLASSES, answers)


@pytest.mark.parametrize(
    "target", [Target("fear", "fear"), Target("fear", "negative"), Target(instead_of="surprise"), Target("all")]
)
def test_nothing_to_compare_with_is_refused(answers, target):
    labels = CLASSES.label_names
    classes = types.SimpleNamespace(label_names=labels, groups={**CLASSES.groups, "all": labels})
    with pytest.raises(EmptyContrastError, match="Name"):
        target.resolve(classes, answers)


@pytest.mark.parametrize(
    ("target", "words"),
    [(Target(), "the answer"), (Target("fear"), "fear"), (Target("fear", "surprise"), "fear and not surprise")],
)
def test_a_target_can_be_said(target, words):
    assert str(target) == words
