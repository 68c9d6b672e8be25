"""M3DFEL and the intensity-aware loss against the paper, written out again in plain loops."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dfer_hf.explain import layer_cam
from dfer_hf.models.configuration_m3dfel import M3dfelConfig
from dfer_hf.models.modeling_m3dfel import (
    BidirectionalLstmLayer,
    DynamicMultiInstanceNorm,
    M3dfelForVideoClassification,
    intensity_aware_loss,
)

from .conftest import answer, with_random_statistics

LONG = {"num_frames": 16, "temporal_strides": [1, 2, 2, 2]}
BAG_SIZES = [1, 2, 4, 8, 16]
SOFT = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.75]])


@pytest.fixture
def build(tiny_model):
    """A tiny M3DFEL over sixteen frames, with weights far enough from their first values for all to matter."""

    def build_with(**fields):
        model = with_random_statistics(tiny_model("m3dfel", **LONG | fields), spread=0.1)
        with torch.no_grad():
            # Else the instances attend to all alike.
            model.attention.query_key_value.weight.mul_(30)
        return model

    return build_with


@pytest.fixture
def clips(tiny_config, random_clips):
    return random_clips(tiny_config("m3dfel", **LONG)) * torch.arange(1, 17)[:, None, None, None] / 4


def record(model, clips, **kwargs):
    """Run the model and keep what goes into and comes out of its parts."""
    seen = {}
    hooks = [
        part.register_forward_hook(lambda _m, inputs, output, name=name: seen.update({name: (inputs[0], output)}))
        for name, part in model.named_children()
    ]
    output = answer(model, clips, **kwargs)
    for hook in hooks:
        hook.remove()
    return output, seen


# ------------------------------------------------------------------------------------- the paper's equations, in plain
# loops


def equations_1_to_4(norm, instances, *, unbiased=False):
    """DMIN of one bag `(bag, hidden)`, number by number; `unbiased` is the code's variance of an instance."""
    bag_size, hidden = len(instances), len(instances[0])
    weight, bias, of_mean, of_variance = (
        parameter.detach().double().tolist()
        for parameter in (norm.weight, norm.bias, norm.mean_importance, norm.variance_importance)
    )
    w_in, w_bn = (math.exp(value) / sum(math.exp(other) for other in of_mean) for value in of_mean)
    v_in, v_bn = (math.exp(value) / sum(math.exp(other) for other in of_variance) for value in of_variance)
    channel_means = [sum(row[c] for row in instances) / bag_size for c in range(hidden)]
    channel_variances = [
        sum((row[c] - channel_means[c]) ** 2 for row in instances) / (bag_size - unbiased) for c in range(hidden)
    ]
    everything = [value for row in instances for value in row]
    bag_mean = sum(everything) / len(everything)
    bag_variance = sum((value - bag_mean) ** 2 for value in everything) / len(everything)
    # The code puts the bag's together from the instances'.
    if unbiased:
        second_moments = [v + m**2 for v, m in zip(channel_variances, channel_means, strict=True)]
        bag_variance = sum(second_moments) / hidden - bag_mean**2
    return [
        [
            (row[c] - w_in * channel_means[c] - w_bn * bag_mean)
            / math.sqrt(v_in * channel_variances[c] + v_bn * bag_variance + 1e-5)
            * weight[c]
            + bias[c]
            for c in range(hidden)
        ]
        for row in instances
    ]


def equation_5(aggregation, hidden, normalised):
    """Z of one bag: gates, then the kernel over the channels with the instances as its inputs."""
    kernel, bias = aggregation.weight.detach().double()[0].tolist(), aggregation.bias.item()
    bag_size, width = len(hidden), len(hidden[0])
    gated = [
        [value / (1 + math.exp(-gate)) for value, gate in zip(*rows, strict=True)]
        for rows in zip(hidden, normalised, strict=True)
    ]
    return [
        bias
        + sum(
            kernel[n][offset + 1] * gated[n][channel + offset]
            for n in range(bag_size)
            for offset in (-1, 0, 1)
            if 0 <= channel + offset < width
        )
        for channel in range(width)
    ]


def attention(query_key_value, instances, num_heads):
    """Self-attention of one bag `(bag, hidden)`, head by head and instance by instance."""
    rows = (instances @ query_key_value.weight.detach().double().T).tolist()
    width = len(rows[0]) // 3
    head_dim = width // num_heads
    mixed = [[0.0] * width for _ in rows]
    for head in range(num_heads):
        start = head * head_dim
        for asker, row in enumerate(rows):
            scores = [
                sum(row[start + i] * other[width + start + i] for i in range(head_dim)) / math.sqrt(head_dim)
                for other in rows
            ]
            total = sum(math.exp(score) for score in scores)
            for score, other in zip(scores, rows, strict=True):
                for i in range(start, start + head_dim):
                    mixed[asker][i] += math.exp(score) / total * other[2 * width + i]
    return mixed


def equations_7_and_8(logits, target):
    """L_IA of one clip, the mean over the classes taken for true."""
    total = 0.0
    for true, probability in enumerate(target):
        largest = max(logit for index, logit in enumerate(logits) if index != true)
        total -= probability * math.log(math.exp(logits[true]) / (math.exp(logits[true]) + math.exp(largest)))
    return total


# ------------------------------------------------------------------------------------------------------------- the
# layers


@pytest.mark.parametrize("bag_size", BAG_SIZES)
def test_instances_are_the_clip_cut_in_time(build, clips, bag_size):
    model = build(bag_size=bag_size)
    length = 16 // bag_size
    output, seen = record(model, clips, labels=torch.tensor([0, 6]))
    instances = seen["trunk"][0]
    assert instances.shape == (2 * bag_size, 3, length, 32, 32)
    for clip in range(2):
        for instance in range(bag_size):
            cut = clips[clip, instance * length : (instance + 1) * length]
            assert torch.equal(instances[clip * bag_size + instance], cut.transpose(0, 1))
    assert all(torch.isfinite(value).all() for value in (output.loss, output.logits, output.frame_logits))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_lstm_is_torchs_bidirectional_one(build, clips, num_layers):
    model = build(lstm_layers=num_layers)
    reference = nn.LSTM(24, 16, num_layers, batch_first=True, bidirectional=True)
    state = {}
    for name, tensor in model.lstm.state_dict().items():
        layer, direction, weight = name.split(".")
        state[f"{weight}_l{layer}" + ("_reverse" if direction == "backwards" else "")] = tensor
    reference.load_state_dict(state)
    _, seen = record(model, clips)
    features, hidden = seen["lstm"]
    with torch.no_grad():
        torch.testing.assert_close(hidden, reference(features)[0])


@pytest.mark.parametrize(
    ("bag_size", "unbiased"), [(size, False) for size in BAG_SIZES] + [(size, True) for size in BAG_SIZES[1:]]
)
def test_aggregation_is_that_of_the_paper(build, clips, bag_size, unbiased):
    model = build(bag_size=bag_size, unbiased_variance=unbiased)
    output, seen = record(model, clips)
    frame_features, shares = seen["trunk"][1]
    pooled = (frame_features * shares[:, None]).sum(dim=1).unflatten(0, (2, bag_size))
    torch.testing.assert_close(seen["lstm"][0], pooled)
    torch.testing.assert_close(seen["attention"][0], seen["lstm"][1], rtol=0, atol=0)
    torch.testing.assert_close(seen["norm"][0], seen["attention"][1][0], rtol=0, atol=0)
    for clip in range(2):
        hidden = seen["lstm"][1][clip].double()
        attended = attention(model.attention.query_key_value, hidden, num_heads=2)
        normalised = equations_1_to_4(model.norm, attended, unbiased=unbiased)
        torch.testing.assert_close(
            seen["norm"][1][clip].double(), torch.tensor(normalised, dtype=torch.float64), rtol=1e-3, atol=1e-4
        )
        bag = torch.tensor(equation_5(model.aggregation, hidden.tolist(), normalised), dtype=torch.float64)
        logits = model.classifier.weight.detach().double() @ bag + model.classifier.bias.detach().double()
        torch.testing.assert_close(output.logits[clip].double(), logits, rtol=1e-4, atol=1e-4)


def test_the_variance_over_one_less_makes_a_difference(build, clips):
    outputs = [record(build(unbiased_variance=unbiased), clips) for unbiased in (False, True)]
    assert (outputs[0][1]["norm"][1] - outputs[1][1]["norm"][1]).abs().max() > 0.01
    assert not torch.equal(outputs[0][0].logits, outputs[1][0].logits)


def test_normalisation_is_exact_far_from_zero():
    """A difference of two large squares would lose the variance."""
    norm = DynamicMultiInstanceNorm(6, unbiased_variance=False)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.fill_(1)
    bags = torch.randn(3, 4, 6) + 500
    expected = [equations_1_to_4(norm, bag.double().tolist()) for bag in bags]
    torch.testing.assert_close(norm(bags).detach(), torch.tensor(expected), rtol=1e-3, atol=1e-3)


def test_epsilon_stands_under_the_root():
    """Where the authors' code has it; Eq. 1 adds it to the root, which tells only where instances are all alike."""
    norm = DynamicMultiInstanceNorm(6, unbiased_variance=False)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.fill_(1)
    bags = torch.randn(3, 4, 6) * 1e-3
    expected = [equations_1_to_4(norm, bag.double().tolist()) for bag in bags]
    torch.testing.assert_close(norm(bags).detach(), torch.tensor(expected), rtol=1e-3, atol=1e-4)


def test_first_weights_are_torchs_and_mix_both_levels_alike(tiny_model):
    model = tiny_model("m3dfel", lstm_hidden_size=64)
    for layer in model.lstm:
        assert isinstance(layer, BidirectionalLstmLayer)
        for parameter in layer.parameters():
            assert 0.9 / 8 < parameter.abs().max() <= 1 / 8
    assert model.norm.mean_importance.tolist() == model.norm.variance_importance.tolist() == [1, 1]
    assert (model.norm.weight == 1).all()
    assert (model.norm.bias == 0).all()


# ------------------------------------------------------------------------------------------------------------- the
# losses


@pytest.mark.parametrize("fields", [{}, {"lambda_intensity": 0.5, "label_smoothing": 0.3}, {"label_smoothing": 0}])
@pytest.mark.parametrize("labels", [torch.tensor([4, 0]), SOFT], ids=["hard", "soft"])
def test_the_loss_is_equation_9(build, clips, labels, fields):
    model = build(**fields)
    output = answer(model, clips, labels=labels)
    smoothing = fields.get("label_smoothing", 0.1)
    cross_entropy = nn.functional.cross_entropy(output.logits, labels, label_smoothing=smoothing)
    targets = labels if labels.is_floating_point() else nn.functional.one_hot(labels, 7)
    rows = zip(output.logits.double().tolist(), targets.tolist(), strict=True)
    intensity = sum(equations_7_and_8(logits, target) for logits, target in rows) / 2
    assert set(output.loss_parts) == {"cross_entropy", "intensity"}
    torch.testing.assert_close(output.loss_parts["cross_entropy"], cross_entropy)
    assert output.loss_parts["intensity"].item() == pytest.approx(intensity, rel=1e-5)
    whole = cross_entropy.item() + fields.get("lambda_intensity", 0.1) * intensity
    assert output.loss.item() == pytest.approx(whole, rel=1e-5)


def test_without_its_weight_the_intensity_does_not_count(build, clips):
    output = answer(build(lambda_intensity=0), clips, labels=torch.tensor([1, 2]))
    assert output.loss_parts["intensity"] > 0
    torch.testing.assert_close(output.loss, output.loss_parts["cross_entropy"], rtol=0, atol=0)


def test_intensity_is_cross_entropy_between_the_true_class_and_its_rival():
    """As its authors compute it: every class but the two is put out of reach."""
    logits = torch.randn(50, 7, dtype=torch.float64) * 4 - 20
    labels = torch.arange(50) % 7
    true = nn.functional.one_hot(labels, 7)
    rival = nn.functional.one_hot((logits - 1e9 * true).argmax(dim=-1), 7)
    expected = nn.functional.cross_entropy(logits - 9999 * (1 - true - rival), labels)
    torch.testing.assert_close(intensity_aware_loss(logits, true.double()), expected)


def test_intensity_stays_finite_and_pulls_at_two_classes_only():
    logits = torch.tensor([[300.0, -300.0, 10.0], [1.0, 3.0, 2.0]], requires_grad=True)
    loss = intensity_aware_loss(logits, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx((600 + math.log1p(math.exp(2))) / 2)
    torch.testing.assert_close(logits.grad[0], torch.tensor([0.5, -0.5, 0.0]))
    assert logits.grad[1, 2] == 0
    assert logits.grad[1, 0] == -logits.grad[1, 1] < 0


# ---------------------------------------------------------------------------------------------- what it says of the
# frames


@pytest.mark.parametrize("bag_size", BAG_SIZES)
def test_instances_answer_for_their_frames(build, clips, bag_size):
    model = build(bag_size=bag_size)
    length = 16 // bag_size
    output, seen = record(model, clips)
    torch.testing.assert_close(output.frame_logits.mean(dim=1), output.logits, rtol=1e-4, atol=1e-5)
    hidden, gates = seen["lstm"][1], seen["norm"][1].sigmoid()
    parts = []
    for instance in range(bag_size):
        alone = torch.zeros_like(hidden)
        alone[:, instance] = bag_size * (hidden * gates)[:, instance]
        with torch.no_grad():
            bag = model.aggregation(alone)[:, 0]
            logits = model.classifier(bag)
            parts.append((bag - model.aggregation.bias).abs().sum(dim=-1))
        for frame in range(instance * length, (instance + 1) * length):
            torch.testing.assert_close(output.frame_logits[:, frame], logits, rtol=1e-4, atol=1e-5)
    expected = torch.stack(parts, dim=1) / torch.stack(parts, dim=1).sum(dim=1, keepdim=True) / length
    torch.testing.assert_close(output.frame_weights, expected.repeat_interleave(length, dim=1))
    assert bag_size == 1 or (output.frame_weights[0] - output.frame_weights[1]).abs().max() > 1e-3


def test_the_order_matters_between_instances_and_within_them(build, clips):
    model = build()
    logits = answer(model, clips).logits
    between = clips.unflatten(1, (4, 4)).flip(1).flatten(1, 2)
    within = clips.unflatten(1, (4, 4)).flip(2).flatten(1, 2)
    for other in (between, within):
        assert (answer(model, other).logits - logits).abs().max() > 1e-3


def test_a_clip_alone_is_answered_as_in_a_batch(build, clips):
    """Where the published code drops the batch."""
    for bag_size in BAG_SIZES:
        model = build(bag_size=bag_size)
        alone = answer(model, clips[:1], labels=torch.tensor([3]))
        assert alone.logits.shape == (1, 7)
        torch.testing.assert_close(alone.logits, answer(model, clips).logits[:1], rtol=1e-4, atol=1e-5)
        assert torch.isfinite(alone.loss)


@pytest.mark.parametrize("bag_size", BAG_SIZES)
def test_every_bag_size_can_be_trained(build, clips, bag_size):
    model = build(bag_size=bag_size).train()
    model(pixel_values_videos=clips, labels=torch.tensor([0, 6])).loss.backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    assert model.trunk.stem[0].weight.grad.abs().sum() > 0


def test_evidence_maps_are_of_every_frame(build, clips):
    maps = layer_cam(build(), clips).maps
    assert maps.shape == (2, 16, 2, 2)


def test_attentions_are_between_the_instances(build, clips):
    output = answer(build(), clips, output_attentions=True, output_hidden_states=True)
    assert [weights.shape for weights in output.attentions] == [(2, 2, 4, 4)]
    assert [states.shape for states in output.hidden_states] == [(2, 4, 24), (2, 4, 32), (2, 4, 32)]


# -------------------------------------------------------------------------------------------------------- settings and
# size


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bag_size": 3}, "`bag_size` must divide the clip of 4 frames"),
        ({"bag_size": 0}, "`bag_size` must divide the clip of 4 frames"),
        ({"bag_size": 8}, "`bag_size` must divide the clip of 4 frames"),
        ({"bag_size": 1, "unbiased_variance": True}, "`unbiased_variance` must be False at `bag_size` 1"),
        ({"num_attention_heads": 5}, "`num_attention_heads` must divide twice `lstm_hidden_size`"),
        ({"lstm_layers": 0}, "`lstm_layers` and `lstm_hidden_size` must be at least 1"),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be at least 0 and below 1"),
        ({"lambda_intensity": -0.1}, "`lambda_intensity` must be at least 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(tiny_config, fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config("m3dfel", **fields)


@pytest.mark.parametrize(("bag_size", "billions"), [(1, 40.7), (2, 40.7), (4, 43.19), (8, 53.0), (16, 82.4)])
def test_the_papers_size(monkeypatch, bag_size, billions):
    """The cells of the LSTM are matrix products, which are counted."""
    with torch.device("meta"):
        model = M3dfelForVideoClassification(M3dfelConfig(bag_size=bag_size)).eval()
        # Meta tensors hold no values.
        monkeypatch.setattr(model, "check_pixel_values", lambda _clips: None)
        with FlopCounterMode(display=False) as counter:
            model(pixel_values_videos=torch.empty(1, 16, 3, 112, 112))
    assert sum(p.numel() for p in model.parameters()) == 46_823_371 + 3 * bag_size + 1
    assert sum(p.numel() for p in model.lstm.parameters()) == pytest.approx(10.502e6, rel=1e-4)
    assert counter.get_total_flops() / 2 == pytest.approx(billions * 1e9, rel=2e-3)


def test_a_quarter_of_the_width_fits_in_thirty_megabytes():
    with torch.device("meta"):
        model = M3dfelForVideoClassification(M3dfelConfig.from_preset("small"))
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 30e6
