"""Former-DFER against its equations, written out again in plain loops in double precision."""

import math

import pytest
import torch
from torch import nn

from dfer_hf.models.configuration_former_dfer import FormerDferConfig
from dfer_hf.models.modeling_former_dfer import FormerDferForVideoClassification
from dfer_hf.models.modeling_temporal_transformer import TemporalTransformer

from .conftest import answer, with_random_statistics


@pytest.fixture
def build(tiny_model):
    """A tiny Former-DFER whose weights are far enough from their first values for every part to matter."""

    def build_with(**fields):
        return with_random_statistics(tiny_model("former_dfer", **fields), spread=0.2)

    return build_with


@pytest.fixture
def clips(tiny_config, random_clips):
    return random_clips(tiny_config("former_dfer"))


def record(model, clips, names):
    """Run the model and keep what goes into and comes out of the modules named."""
    seen = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _m, inputs, output, name=name: seen.update({name: (inputs[0], output)})
        )
        for name in names
    ]
    output = answer(model, clips)
    for hook in hooks:
        hook.remove()
    return output, seen


# ------------------------------------------------------------------------------- one sequence of tokens, in plain
# loops


def layer_norm(token, norm):
    centred = token - token.mean()
    scaled = centred / torch.sqrt((centred * centred).mean() + norm.eps)
    return scaled * norm.weight.double() + norm.bias.double()


def gelu(values):
    return 0.5 * values * (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))


def plain_layer(tokens, layer, num_heads, head_dim):
    """One pre-norm layer over a list of tokens, head by head and token by token."""
    normed = [layer_norm(token, layer.norm_before_attention) for token in tokens]
    mixed = [layer.attention.output.bias.double() for _ in tokens]
    weight, output = layer.attention.query_key_value.weight.double(), layer.attention.output.weight.double()
    width = num_heads * head_dim
    for head in range(num_heads):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        query, key, value = (
            [weight[part * width : (part + 1) * width][rows] @ token for token in normed] for part in range(3)
        )
        for place in range(len(tokens)):
            scores = torch.stack([query[place] @ other / math.sqrt(head_dim) for other in key])
            context = sum(share * other for share, other in zip(scores.softmax(dim=0), value, strict=True))
            mixed[place] = mixed[place] + output[:, rows] @ context
    after = [token + change for token, change in zip(tokens, mixed, strict=True)]
    first, last = layer.mlp[0], layer.mlp[2]
    return [
        token
        + last.weight.double()
        @ gelu(first.weight.double() @ layer_norm(token, layer.norm_before_mlp) + first.bias.double())
        + last.bias.double()
        for token in after
    ]


# -------------------------------------------------------------------------------------------------------- what it
# computes


@pytest.mark.parametrize("spatial_depth", [1, 3])
@torch.no_grad()
def test_places_of_a_map_attend_to_each_other_between_stages_3_and_4(build, clips, spatial_depth):
    model = build(spatial_depth=spatial_depth)
    stages = "trunk.encoder.stages."
    _, seen = record(model, clips, [f"{stages}2", "spatial_transformer", f"{stages}3"])
    maps, mixed = seen["spatial_transformer"]
    assert maps is seen[f"{stages}2"][1]
    assert mixed is seen[f"{stages}3"][0]
    assert maps.shape == mixed.shape == (8, 16, 2, 2)
    transformer, height, width = model.spatial_transformer, 2, 2
    assert len(transformer.layers) == spatial_depth
    for frame in (0, 5):
        tokens = [
            maps[frame, :, y, x].double() + transformer.position_embeddings[0, y * width + x].double()
            for y in range(height)
            for x in range(width)
        ]
        for layer in transformer.layers:
            tokens = plain_layer(tokens, layer, num_heads=2, head_dim=8)
        for place, token in enumerate(tokens):
            torch.testing.assert_close(
                mixed[frame, :, place // width, place % width].double(), token, rtol=1e-4, atol=1e-5
            )


@torch.no_grad()
def test_a_class_token_sums_up_the_frames(build, clips):
    model = build()
    last_stage = "trunk.encoder.stages.3"
    output, seen = record(model, clips, [last_stage, "temporal_transformer"])
    features = seen["temporal_transformer"][0]
    means = seen[last_stage][1].flatten(2).mean(dim=2)
    torch.testing.assert_close(features.flatten(0, 1), means)
    transformer = model.temporal_transformer
    for clip in range(2):
        tokens = [transformer.class_token[0, 0].double(), *features[clip].double()]
        tokens = [
            token + position
            for token, position in zip(tokens, transformer.position_embeddings[0].double(), strict=True)
        ]
        for layer in transformer.layers:
            tokens = plain_layer(tokens, layer, num_heads=2, head_dim=8)
        weight, bias = model.classifier.weight.double(), model.classifier.bias.double()
        logits = [weight @ token + bias for token in tokens]
        torch.testing.assert_close(output.logits[clip].double(), logits[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output.frame_logits[clip].double(), torch.stack(logits[1:]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_temporal_transformer_is_the_shared_one(build):
    """It only keeps more of what that computes."""
    transformer = build().temporal_transformer
    frames = torch.randn(3, 4, 24)
    tokens, weights = transformer(frames)
    summary, shared_weights = TemporalTransformer.forward(transformer, frames)
    torch.testing.assert_close(tokens[:, 0], summary, rtol=0, atol=0)
    torch.testing.assert_close(weights, shared_weights)


def test_frame_weights_are_the_class_tokens_attention_rolled_out(build, clips):
    model = build()
    model.set_attn_implementation("eager")
    output = answer(model, clips, output_attentions=True, output_hidden_states=True)
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 2, 5, 5)] * 2
    assert [tuple(states.shape) for states in output.hidden_states] == [(2, 5, 24)] * 3
    for clip in range(2):
        flow = torch.eye(5, dtype=torch.float64)
        for weights in output.attentions:
            heads = weights[clip].double().mean(dim=0)
            flow = (0.5 * heads + 0.5 * torch.eye(5, dtype=torch.float64)) @ flow
        expected = flow[0, 1:] / flow[0, 1:].sum()
        torch.testing.assert_close(output.frame_weights[clip].double(), expected, rtol=1e-5, atol=1e-6)
        assert expected.std() > 1e-3


def test_the_loss_is_the_cross_entropy(build, clips):
    model = build()
    soft = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.75]])
    for labels in (torch.tensor([4, 5]), soft):
        output = answer(model, clips, labels=labels)
        expected = nn.functional.cross_entropy(output.logits.double(), labels.double() if labels is soft else labels)
        torch.testing.assert_close(output.loss.double(), expected, rtol=1e-5, atol=1e-6)
        assert output.loss_parts == {"cross_entropy": output.loss}


def test_frames_meet_in_the_temporal_transformer_only(build, clips):
    model = build()
    changed = clips.clone()
    changed[:, 1] += 1
    (_, before), (_, after) = (record(model, pixels, ["temporal_transformer"]) for pixels in (clips, changed))
    moved = (before["temporal_transformer"][0] - after["temporal_transformer"][0]).abs().amax(dim=(0, 2))
    assert moved[1] > 1e-3
    assert moved[[0, 2, 3]].max() < 1e-6


def test_the_order_of_the_frames_matters(build, clips):
    model = build()
    forwards, backwards = answer(model, clips), answer(model, clips.flip(1))
    assert (forwards.logits - backwards.logits).abs().max() > 1e-3
    assert (forwards.frame_weights - backwards.frame_weights.flip(1)).abs().max() > 1e-4


def test_dropout_acts_in_training_only(tiny_model, clips):
    model = tiny_model("former_dfer", classifier_dropout=0.5)
    assert torch.equal(answer(model, clips).logits, answer(model, clips).logits)
    model.train()
    assert not torch.equal(answer(model, clips).logits, answer(model, clips).logits)


@pytest.mark.parametrize(
    "name", [f"{side}_{part}" for side in ("spatial", "temporal") for part in ("depth", "heads", "head_dim")]
)
def test_settings_without_sense_are_refused(tiny_config, name):
    with pytest.raises(Exception, match=f"`{name}` must be at least 1, got 0"):
        tiny_config("former_dfer", **{name: 0})


# ------------------------------------------------------------------------------------------------------------- its
# size


def measure(config, monkeypatch):
    """Parameters, and multiply-adds of convolutions and linear maps, without memory for either."""
    monkeypatch.setattr(FormerDferForVideoClassification, "check_pixel_values", lambda *_: None)
    with torch.device("meta"):
        model = FormerDferForVideoClassification(config).eval()
        clip = torch.empty(1, config.num_frames, config.num_channels, config.image_size, config.image_size)
    counts = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda module, _inputs, output: counts.append(output.numel() * module.weight[0].numel())
            )
    answer(model, clip)
    return sum(parameter.numel() for parameter in model.parameters()), sum(counts)


@pytest.mark.parametrize(
    ("preset", "fields", "parameters", "multiply_adds"),
    [
        ("paper", {}, 18.032e6, 8.276e9),
        ("paper", {"spatial_depth": 3}, 19.085e6, 9.098e9),
        ("small", {}, 4.523e6, 2.187e9),
    ],
    ids=["paper", "three spatial layers", "small"],
)
def test_size(monkeypatch, preset, fields, parameters, multiply_adds):
    measured = measure(FormerDferConfig.from_preset(preset, **fields), monkeypatch)
    assert measured == pytest.approx((parameters, multiply_adds), rel=1e-4)


def test_what_was_printed_fits_one_spatial_layer_or_three():
    printed = FormerDferConfig.printed["paper"]
    assert printed.parameters == pytest.approx(18.032, rel=0.01)
    assert printed.multiply_adds == pytest.approx(9.098, rel=0.01)
