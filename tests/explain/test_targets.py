import pytest
import torch

import dfer_hf
from dfer_hf.explain import EmptyContrastError, Target, UnknownTargetError

PROBABILITIES = {
    "happiness": 0.1, "sadness": 0.2, "neutral": 0.05, "anger": 0.05, "surprise": 0.25, "disgust": 0.05, "fear": 0.3
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    model_class = dfer_hf.systems()["frame_resnet"]
    return model_class(model_class.config_class.from_preset("tiny")).eval()


@pytest.fixture
def logits(model):
    row = torch.tensor([PROBABILITIES[label] for label in model.config.label_names]).log()
    return torch.stack([row, row.flip(0)])


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
def test_a_target_is_the_probability_of_what_it_names(model, logits, target, expected):
    contrast = target.resolve(model, logits)
    assert contrast.probability(logits)[0].item() == pytest.approx(expected, abs=1e-6)
    odds = torch.tensor(expected / (1 - expected))
    torch.testing.assert_close(contrast.log_odds(logits)[0], odds.log(), rtol=1e-4, atol=1e-5)


def test_each_clip_is_asked_for_its_own_answer(model, logits):
    contrast = Target().resolve(model, logits)
    assert contrast.towards.long().argmax(dim=1).tolist() == logits.argmax(dim=1).tolist()


def test_the_answer_is_that_of_the_rule_that_decides(model, monkeypatch):
    monkeypatch.setattr(model.config, "coarse_first", True)
    row = torch.tensor([[0.4, 0.2, 0.0, 0.2, 0.0, 0.0, 0.2]]).clamp_min(1e-6).log()
    chosen = Target().resolve(model, row).towards[0].nonzero().item()
    assert model.config.label_names[chosen] in model.config.groups["negative"]


def test_variants_of_a_clip_are_compared_with_the_answer_of_the_whole(model, logits):
    contrast = Target().resolve(model, logits)
    variants = torch.stack([logits, logits.flip(0)], dim=1)  # (clips, variants, labels)
    assert contrast.log_odds(variants).shape == (2, 2)
    torch.testing.assert_close(contrast.log_odds(variants)[:, 0], contrast.log_odds(logits))


def test_what_all_logits_gain_changes_nothing(model, logits):
    contrast = Target("fear", "surprise").resolve(model, logits)
    torch.testing.assert_close(contrast.log_odds(logits + 5), contrast.log_odds(logits))


def test_a_sure_answer_still_has_a_gradient(model):
    logits = torch.zeros(1, 7)
    logits[0, 3] = 60
    logits.requires_grad_()
    Target().resolve(model, logits).log_odds(logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 3].item() == pytest.approx(1)


@pytest.mark.parametrize("target", [Target("joy"), Target("fear", "joy")])
def test_an_unknown_name_is_refused_with_those_there_are(model, logits, target):
    with pytest.raises(UnknownTargetError, match=r"happiness.*or a group .positive, neutral, negative.*got 'joy'"):
        target.resolve(model, logits)


@pytest.mark.parametrize(
    "target", [Target("fear", "fear"), Target("fear", "negative"), Target(instead_of="surprise"), Target("all")]
)
def test_nothing_to_compare_with_is_refused(model, logits, target, monkeypatch):
    monkeypatch.setattr(model.config, "groups", model.config.groups | {"all": model.config.label_names})
    with pytest.raises(EmptyContrastError, match="Name"):
        target.resolve(model, logits)


@pytest.mark.parametrize(
    ("target", "words"),
    [(Target(), "the answer"), (Target("fear"), "fear"), (Target("fear", "surprise"), "fear and not surprise")],
)
def test_a_target_can_be_said(target, words):
    assert str(target) == words
