"""The recurrent baselines against torch's own cells, and their evidence against plain loops in double precision."""

import pytest
import torch
from torch import nn

from dfer_hf.models.configuration_resnet_rnn import ResNetRnnConfig
from dfer_hf.models.modeling_resnet_rnn import ResNetRnnForVideoClassification

from .conftest import answer, with_random_statistics


@pytest.fixture(params=["lstm", "gru"])
def model(request, tiny_model):
    return with_random_statistics(tiny_model("resnet_rnn", cell=request.param))


@pytest.fixture
def clips(model, random_clips):
    return random_clips(model.config)


def torch_layer(layer):
    """Torch's own LSTM or GRU with the weights of ours, in double precision."""
    own = {"lstm": nn.LSTM, "gru": nn.GRU}[layer.cell](
        layer.from_frame.in_features, layer.state_size, batch_first=True
    )
    own.load_state_dict(
        {
            "weight_ih_l0": layer.from_frame.weight,
            "bias_ih_l0": layer.from_frame.bias,
            "weight_hh_l0": layer.from_state.weight,
            "bias_hh_l0": layer.from_state.bias,
        }
    )
    return own.double()


def record(model, clips):
    """Run the model; return its output and what went into and came out of its recurrent layer."""
    seen = []
    hook = model.recurrent_layer.register_forward_hook(lambda _m, inputs, output: seen.extend([inputs[0], *output]))
    output = answer(model, clips)
    hook.remove()
    return output, *seen


def gates(layer, features, states):
    """What the cell keeps of its memory at each frame of one clip and what it writes, `(frames, state)` each."""
    kept, written = [], []
    state = torch.zeros(layer.state_size, dtype=torch.float64)
    for frame, next_state in zip(features.double(), states.double(), strict=True):
        from_frame = layer.from_frame.weight.double() @ frame + layer.from_frame.bias.double()
        from_state = layer.from_state.weight.double() @ state + layer.from_state.bias.double()
        size = layer.state_size
        if layer.cell == "lstm":
            whole = from_frame + from_state
            kept.append(whole[size : 2 * size].sigmoid())
            written.append(whole[:size].sigmoid() * whole[2 * size : 3 * size].tanh())
        else:
            kept.append((from_frame + from_state)[size : 2 * size].sigmoid())
            written.append(next_state - kept[-1] * state)
        state = next_state
    return kept, written


# ------------------------------------------------------------------------------------------------------ what it
# computes


@torch.no_grad()
def test_the_cells_are_torchs_own(model, clips):
    _, features, states, _ = record(model, clips)
    expected, _ = torch_layer(model.recurrent_layer)(features.double())
    torch.testing.assert_close(states.double(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_first_weights_are_spread_as_torchs_own(tiny_model):
    for cell in ("lstm", "gru"):
        layer = tiny_model("resnet_rnn", cell=cell, state_size=64).recurrent_layer
        own = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](24, 64)
        for ours, theirs in zip(
            (layer.from_frame.weight, layer.from_state.weight, layer.from_frame.bias, layer.from_state.bias),
            own.parameters(),
            strict=True,
        ):
            assert ours.shape == theirs.shape
            assert ours.std() == pytest.approx(theirs.std().item(), rel=0.2)
            assert ours.abs().max() <= 64**-0.5


@torch.no_grad()
def test_the_classifier_reads_the_last_state(model, clips):
    output, features, states, _ = record(model, clips)
    trunk_map = model.trunk(clips.flatten(0, 1)).feature_maps[0]
    torch.testing.assert_close(features.flatten(0, 1), trunk_map.mean(dim=(2, 3)))
    torch.testing.assert_close(output.logits, model.classifier(states[:, -1]))
    torch.testing.assert_close(output.frame_logits, model.classifier(states))


def test_what_is_said_of_a_frame_is_the_answer_had_the_clip_ended_there(model, clips):
    whole = answer(model, clips)
    for num_frames in range(1, 5):
        cut = answer(model, clips[:, :num_frames])
        torch.testing.assert_close(cut.logits, whole.frame_logits[:, num_frames - 1], rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_cross_entropy(model, clips):
    soft = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.75]])
    for labels in (torch.tensor([4, 5]), soft):
        output = answer(model, clips, labels=labels)
        expected = nn.functional.cross_entropy(output.logits.double(), labels.double() if labels is soft else labels)
        torch.testing.assert_close(output.loss.double(), expected, rtol=1e-5, atol=1e-6)
        assert output.loss_parts == {"cross_entropy": output.loss}


def test_the_order_of_the_frames_matters(model, clips):
    forwards, backwards = answer(model, clips), answer(model, clips.flip(1))
    assert (forwards.logits - backwards.logits).abs().max() > 1e-3


def test_dropout_acts_in_training_only(tiny_model, clips):
    model = tiny_model("resnet_rnn", classifier_dropout=0.5)
    assert torch.equal(answer(model, clips).logits, answer(model, clips).logits)
    model.train()
    assert not torch.equal(answer(model, clips).logits, answer(model, clips).logits)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cell": "rnn"}, "`cell` must be 'lstm' or 'gru', got 'rnn'"),
        ({"state_size": 0}, "`state_size` must be at least 1, got 0"),
    ],
    ids=str,
)
def test_other_cells_are_refused(tiny_config, fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config("resnet_rnn", **fields)


# ---------------------------------------------------------------------------------------------------------- its
# evidence


@torch.no_grad()
def test_parts_are_what_the_later_gates_keep_of_what_a_frame_writes(model, clips):
    _, features, states, parts = record(model, clips)
    torch.testing.assert_close(parts.sum(dim=1), states[:, -1], rtol=1e-4, atol=1e-6)
    for clip in range(2):
        kept, written = gates(model.recurrent_layer, features[clip], states[clip])
        left = []
        for frame in range(4):
            part = written[frame]
            for later in range(frame + 1, 4):
                part = part * kept[later]
            left.append(part)
        expected = torch.stack(left)
        # The state shows the memory through tanh and the output gate.
        if model.config.cell == "lstm":
            expected = expected / expected.sum(dim=0) * states[clip, -1].double()
        torch.testing.assert_close(parts[clip].double(), expected, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_frame_weights_are_the_shares_of_the_parts_in_the_answer(model, clips):
    output, _, _, parts = record(model, clips)
    weight = model.classifier.weight.double()
    for clip in range(2):
        votes = [weight @ part.double() for part in parts[clip]]
        torch.testing.assert_close(
            sum(votes) + model.classifier.bias.double(), output.logits[clip].double(), rtol=1e-4, atol=1e-5
        )
        lengths = torch.stack([(vote - vote.mean()).square().sum().sqrt() for vote in votes])
        torch.testing.assert_close(output.frame_weights[clip].double(), lengths / lengths.sum(), rtol=1e-4, atol=1e-6)
        assert lengths.std() > 1e-3


def set_keep_gate(model, value):
    size = model.config.state_size
    with torch.no_grad():
        model.recurrent_layer.from_frame.bias[size : 2 * size] = value


def test_frames_that_are_forgotten_weigh_nothing(model, clips):
    set_keep_gate(model, -1000.0)
    torch.testing.assert_close(answer(model, clips).frame_weights, torch.tensor([[0.0, 0, 0, 1]] * 2))


@pytest.mark.parametrize("silent", ["classifier", "recurrent_layer"])
def test_frames_that_leave_nothing_weigh_alike(model, clips, silent):
    with torch.no_grad():
        for parameter in model.get_submodule(silent).parameters():
            parameter.zero_()
    torch.testing.assert_close(answer(model, clips).frame_weights, torch.full((2, 4), 0.25))


def test_what_all_classes_get_alike_does_not_count(model, clips):
    before = answer(model, clips)
    with torch.no_grad():
        model.classifier.weight.add_(torch.randn(model.config.state_size))
    after = answer(model, clips)
    torch.testing.assert_close(before.logits.softmax(dim=-1), after.logits.softmax(dim=-1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(before.frame_weights, after.frame_weights, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- its
# size


def measure(preset, monkeypatch):
    """Parameters, multiply-adds of convolutions and linear maps, and values scaled by batch norms, without memory."""
    monkeypatch.setattr(ResNetRnnForVideoClassification, "check_pixel_values", lambda *_, **__: None)
    config = ResNetRnnConfig.from_preset(preset)
    with torch.device("meta"):
        model = ResNetRnnForVideoClassification(config).eval()
        clip = torch.empty(1, config.num_frames, config.num_channels, config.image_size, config.image_size)
    products, scaled = [], []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda module, _inputs, output: products.append(output.numel() * module.weight[0].numel())
            )
        elif isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _module, _inputs, output: scaled.append(output.numel()))
    answer(model, clip)
    return sum(parameter.numel() for parameter in model.parameters()), sum(products), sum(scaled)


@pytest.mark.parametrize(
    ("preset", "parameters", "multiply_adds"),
    [("paper", 11.967e6, 7.770e9), ("paper_gru", 11.770e6, 7.767e9), ("small", 2.9974e6, 2.0606e9)],
)
def test_size(monkeypatch, preset, parameters, multiply_adds):
    measured, products, scaled = measure(preset, monkeypatch)
    assert measured == pytest.approx(parameters, rel=1e-4)
    assert products == pytest.approx(multiply_adds, rel=1e-4)
    if preset in ResNetRnnConfig.printed:
        assert round((products + scaled) / 1e9, 2) == ResNetRnnConfig.printed[preset].multiply_adds
