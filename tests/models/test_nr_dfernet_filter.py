"""NR-DFERNet's decision stage: snippets, the filter of Eq. 7, and what is said of each frame."""

import pytest
import torch
from torch import nn

from dfer_hf.models.configuration_nr_dfernet import NrDfernetConfig

from .conftest import answer, with_random_statistics
from .test_nr_dfernet import NEUTRAL, equation_7, windows

TABLE_2 = [(1, 3), (2, 3), (3, 3), (1, 6), (2, 6), (3, 6)]  # stride and width


@pytest.fixture
def build(tiny_model):
    """A tiny network of 8 frames with a value of its own in every parameter."""

    def build_with(**fields):
        fields = {"num_frames": 8, "snippet_length": 3, "snippet_stride": 2} | fields
        return with_random_statistics(tiny_model("nr_dfernet", **fields))

    return build_with


@pytest.fixture
def clips(tiny_config, random_clips):
    return random_clips(tiny_config("nr_dfernet", num_frames=8))


@pytest.mark.parametrize(("stride", "length"), TABLE_2)
def test_snippets_of_table_2_slide_over_the_fused_features(build, stride, length):
    model = build(num_frames=16, snippet_length=length, snippet_stride=stride)
    features = torch.randn(2, 15, 64)
    together = model.temporal_transformer.summarise_snippets(features, length=length, stride=stride)
    held = windows(15, length, stride)
    assert together.shape == (2, len(held), 64)
    assert len(held) == (15 - length) // stride + 1  # Eq. 6
    for index, window in enumerate(held):
        alone, _ = model.temporal_transformer(features[:, list(window)])
        torch.testing.assert_close(together[:, index], alone, rtol=1e-4, atol=1e-5)


def test_by_default_there_are_the_seven_snippets_of_equation_6():
    config = NrDfernetConfig()
    held = windows(config.num_frames - 1, config.snippet_length, config.snippet_stride)
    assert len(held) == (16 - 3) // 2 + 1 == 7
    # Every fused feature stands in one.
    assert held[-1][-1] == 14


def probabilities_with(best, neutral):
    """Of a snippet: one class, the neutral one, and the rest shared by the others."""
    rest = (1 - best - neutral) / 5
    return [best, rest, neutral, rest, rest, rest, rest]


@pytest.mark.parametrize(
    ("snippets", "fires"),
    [
        ([(0.5, 0.01), (0.9, 0.01)], True),
        ([(0.75, 0.0), (0.1, 0.85)], True),
        # Clear in one, not neutral in the other.
        ([(0.9, 0.06), (0.6, 0.0)], False),
        ([(0.1, 0.9), (0.0, 1.0)], False),
        # As high as the threshold is not above it.
        ([(0.7, 0.01), (0.2, 0.4)], False),
        ([(0.9, 0.05), (0.2, 0.4)], False),
    ],
)
def test_the_filter_is_equation_7(build, snippets, fires):
    model = build()
    probabilities = torch.tensor([[probabilities_with(*pair) for pair in snippets]])
    sequence = torch.tensor([[0.3, 0.1, 2.0, 0.2, -0.4, -3.0, 0.0]])
    filtered = model.filter_neutral(sequence, probabilities)
    expected = equation_7(
        sequence[0].double().softmax(dim=-1).tolist(),
        probabilities[0].tolist(),
        torch.tensor(0.7).item(),
        torch.tensor(0.05).item(),
    )
    torch.testing.assert_close(filtered[0].softmax(dim=-1), torch.tensor(expected))
    assert filtered.equal(sequence) is not fires
    assert torch.isfinite(filtered).all()


def test_the_filter_works_on_each_clip_for_itself_and_follows_its_thresholds(build):
    probabilities = torch.tensor([[probabilities_with(0.6, 0.1)], [probabilities_with(0.3, 0.1)]])
    sequence = torch.zeros(2, 7)
    for fields, fires in (
        ({}, [False, False]),
        ({"snippet_confidence": 0.5}, [False, False]),
        ({"snippet_confidence": 0.5, "snippet_neutrality": 0.2}, [True, False]),
        ({"snippet_confidence": 0.2, "snippet_neutrality": 0.2}, [True, True]),
    ):
        filtered = build(**fields).filter_neutral(sequence, probabilities)
        assert (filtered[:, NEUTRAL].exp() < 1e-30).tolist() == fires


def test_a_clip_that_is_neutral_beyond_doubt_gives_way_to_its_next_class(build):
    probabilities = torch.tensor([[probabilities_with(0.9, 0.0)]])
    sequence = torch.tensor([[0.0, 1.0, 200.0, 3.0, 0.0, 0.0, 0.0]])
    filtered = build().filter_neutral(sequence, probabilities)
    assert filtered.argmax() == 3
    torch.testing.assert_close(filtered.softmax(dim=-1).sum(), torch.tensor(1.0))


def test_the_filter_acts_in_evaluation_only_and_leaves_the_loss_alone(build, clips):
    labels = torch.tensor([NEUTRAL, NEUTRAL])
    outputs = {}
    for on in (True, False):
        model = build(snippet_filter=on)
        with torch.no_grad():
            # Every snippet is sure of it.
            model.classifier.bias[0] += 20
        outputs[on] = answer(model, clips, labels=labels)
    torch.testing.assert_close(outputs[True].loss, outputs[False].loss, rtol=0, atol=0)
    assert outputs[True].loss > 10
    before, after = outputs[False].logits, outputs[True].logits
    others = [index for index in range(7) if index != NEUTRAL]
    torch.testing.assert_close(before[:, others], after[:, others], rtol=0, atol=0)
    assert (after[:, NEUTRAL] < before[:, NEUTRAL] - 1).all()
    neutral_group = list(model.config.groups).index("neutral")
    assert (outputs[True].coarse_logits[:, neutral_group] < -80).all()
    torch.testing.assert_close(outputs[True].frame_logits, outputs[False].frame_logits, rtol=0, atol=0)

    training = build().train()
    with torch.no_grad():
        training.classifier.bias[0] += 20
    output = answer(training, clips, labels=labels)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, labels))


def test_training_looks_at_no_snippets(build, clips, monkeypatch):
    model = build()
    looked = []
    monkeypatch.setattr(model, "classify_snippets", lambda features: looked.append(1) or model.classifier(features))
    labels = torch.zeros(len(clips), dtype=torch.long)
    assert answer(model.train(), clips, labels=labels).frame_logits is None
    assert not looked
    monkeypatch.undo()
    # Without labels somebody wants to see the frames.
    assert answer(model, clips).frame_logits is not None


def test_labels_without_a_neutral_class_are_never_filtered(build):
    fields = {"id2label": {0: "glad", 1: "cross", 2: "calm"}, "groups": {"all": ["glad", "cross", "calm"]}}
    sequence, probabilities = torch.randn(1, 3), torch.tensor([[[0.99, 0.01, 0.0]]])
    assert build(**fields).filter_neutral(sequence, probabilities).equal(sequence)
    filtered = build(**fields, neutral_label="calm").filter_neutral(sequence, probabilities)
    assert filtered[0].argmin() == 2
    assert not filtered.equal(sequence)


@pytest.mark.parametrize(
    ("length", "stride", "held"),
    [
        (3, 2, [[0], [0], [0, 1], [1], [1, 2], [2], [2], [2]]),
        # Gaps and a tail in no snippet.
        (2, 3, [[0], [0], [0, 1], [1], [1], [1], [1], [1]]),
        (7, 1, [[0]] * 8),
        (1, 1, [[0], [1], [2], [3], [4], [5], [6], [6]]),
    ],
)
def test_frames_get_the_answers_of_their_nearest_snippets(build, length, stride, held):
    model = build(snippet_length=length, snippet_stride=stride)
    num_snippets = (7 - length) // stride + 1
    answers = torch.rand(1, num_snippets, 7)
    frames = model.spread_snippets(answers)
    for frame, snippets in enumerate(held):
        torch.testing.assert_close(frames[0, frame], answers[0, snippets].mean(dim=0))
