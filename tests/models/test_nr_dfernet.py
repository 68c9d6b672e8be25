"""NR-DFERNet against its paper (Li et al. 2022), written out again in plain loops and double precision."""

import math

import pytest
import torch
from torch import nn

from dfer_hf.models.configuration_nr_dfernet import NrDfernetConfig
from dfer_hf.models.modeling_nr_dfernet import NrDfernetForVideoClassification

# Components by their letter in Table 1: dynamic-static fusion, dynamic class token, snippet filter.
TABLE_1 = {
    "a": (False, False, False),
    "b": (False, False, True),
    "c": (False, True, False),
    "d": (False, True, True),
    "e": (True, False, False),
    "f": (True, False, True),
    "g": (True, True, False),
    "h": (True, True, True),
}
TABLE_3 = {(1, 4): 6.20, (2, 4): 6.33, (3, 4): 6.46, (1, 6): 7.31, (2, 6): 7.44, (3, 6): 7.57}
NEUTRAL = 2


def switches(letter):
    names = ("dynamic_static_fusion", "dynamic_class_token", "snippet_filter")
    return dict(zip(names, TABLE_1[letter], strict=True))


@pytest.fixture
def build(tiny_model):
    """A tiny network of 8 frames whose weights are far enough from their first values for every part to matter."""

    def build_with(**fields):
        fields = {"num_frames": 8, "snippet_length": 3, "snippet_stride": 2} | fields
        model = tiny_model("nr_dfernet", **fields)
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
            model.classifier.weight.mul_(0.02)  # doubtful answers
        return model

    return build_with


@pytest.fixture
def clips(tiny_config, random_clips):
    return random_clips(tiny_config("nr_dfernet", num_frames=8))


@torch.no_grad()
def record(model, clips, **kwargs):
    """Run the model and keep what goes into and comes out of its parts; of several runs the last."""
    names = ["trunk", "fusion", "fusion.down_convolution", "fusion.static_transformer"]
    if model.config.dynamic_static_fusion:
        names.append("fusion.dynamic_branch")
    seen = {}
    hooks = [keep(model, name, seen) for name in names]
    output = model(pixel_values_videos=clips, **kwargs)
    for hook in hooks:
        hook.remove()
    return output, seen


def keep(model, name, seen):
    return model.get_submodule(name).register_forward_hook(
        lambda _module, inputs, output: seen.update({name: (inputs[0], output)})
    )


# ------------------------------------------------------------------------------------- the paper's equations, in plain
# loops


def linear(layer, rows):
    answer = rows @ layer.weight.detach().double().T
    return answer if layer.bias is None else answer + layer.bias.detach().double()


def normalise(norm, rows):
    centred = rows - rows.mean(dim=-1, keepdim=True)
    spread = (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt()
    return centred / spread * norm.weight.detach().double() + norm.bias.detach().double()


def gelu(value):
    return 0.5 * value * (1 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))


def encode(layers, tokens, num_heads):
    """Transformer encoders over one sequence `(tokens, hidden)`; also the mean attention of each layer."""
    maps = []
    for layer in layers:
        rows = linear(layer.attention.query_key_value, normalise(layer.norm_before_attention, tokens))
        query, key, value = rows.chunk(3, dim=-1)
        width = query.shape[-1] // num_heads
        contexts, attention = [], torch.zeros(len(tokens), len(tokens), dtype=torch.float64)
        for head in range(num_heads):
            part = slice(head * width, (head + 1) * width)
            weights = (query[:, part] @ key[:, part].T / math.sqrt(width)).softmax(dim=-1)
            contexts.append(weights @ value[:, part])
            attention += weights / num_heads
        tokens = tokens + linear(layer.attention.output, torch.cat(contexts, dim=-1))
        hidden = gelu(linear(layer.mlp[0], normalise(layer.norm_before_mlp, tokens)))
        tokens = tokens + linear(layer.mlp[2], hidden)
        maps.append(attention)
    return tokens, maps


def summarise(model, features):
    """Class token after the temporal stage for one sequence of fused features (Sec. 3.4), and its frame weights."""
    transformer = model.temporal_transformer
    if model.config.dynamic_class_token:
        class_token = sum(features[1:], features[0]) / len(features)  # Eq. 5
    else:
        class_token = transformer.class_token[0, 0].detach().double()
    tokens = torch.stack([class_token, *features])
    tokens = tokens + transformer.position_embeddings[0, : len(tokens)].detach().double()
    tokens, maps = encode(transformer.layers, tokens, model.config.num_heads)
    flow = identity = torch.eye(len(tokens), dtype=torch.float64)
    for attention in maps:
        flow = (0.5 * attention + 0.5 * identity) @ flow
    return tokens[0], flow[0, 1:] / flow[0, 1:].sum()


def windows(num_features, length, stride):
    starts = []
    start = 0
    while start + length <= num_features:
        starts.append(range(start, start + length))
        start += stride
    return starts


def equation_7(sequence, snippets, confidence, neutrality):
    """Probabilities of the clip after the filter."""
    for snippet in snippets:
        if max(snippet) > confidence and snippet[NEUTRAL] < neutrality:
            rest = sum(p for index, p in enumerate(sequence) if index != NEUTRAL)
            return [0.0 if index == NEUTRAL else p / rest for index, p in enumerate(sequence)]
    return sequence


def temporal_and_decision_stage(model, features):
    """Everything the model says of one clip, from its fused features `(frames - 1, hidden)`."""
    config, features = model.config, list(features.double())
    summary, weights = summarise(model, features)
    sequence_logits = linear(model.classifier, summary)
    held = windows(len(features), config.snippet_length, config.snippet_stride)
    snippets = []
    for window in held:
        snippet_summary, _ = summarise(model, [features[index] for index in window])
        snippets.append(linear(model.classifier, snippet_summary).softmax(dim=-1))
    frames = []
    for frame in range(config.num_frames):
        away = [min(abs(frame - index) for index in window) for window in held]
        nearest = [snippet for snippet, gap in zip(snippets, away, strict=True) if gap == min(away)]
        frames.append(sum(nearest) / len(nearest))
    return sequence_logits, snippets, torch.stack(frames), weights


@pytest.mark.parametrize("letter", TABLE_1)
def test_each_row_of_table_1_does_what_the_paper_says(build, clips, letter):
    model = build(**switches(letter), snippet_neutrality=0.9)
    labels = torch.tensor([4, NEUTRAL])
    _, seen = record(model, clips)
    said = [temporal_and_decision_stage(model, features) for features in seen["fusion"][1]]
    surest = [max(max(snippet.tolist()) for snippet in snippets) for _, snippets, _, _ in said]
    # One clip has a snippet above it, the other has none.
    model.config.snippet_confidence = sum(surest) / 2
    output, _ = record(model, clips, labels=labels)
    loss, filtered = 0.0, []
    for clip, (sequence_logits, snippets, frames, weights) in enumerate(said):
        loss -= sequence_logits.log_softmax(dim=-1)[labels[clip]].item() / 2
        expected = sequence_logits.softmax(dim=-1).tolist()
        if model.config.snippet_filter:
            snippets = torch.stack(snippets).tolist()
            expected = equation_7(expected, snippets, model.config.snippet_confidence, 0.9)
        filtered.append(expected[NEUTRAL] == 0)
        probabilities = output.logits[clip].softmax(dim=-1)
        torch.testing.assert_close(probabilities, torch.tensor(expected), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(output.frame_logits[clip].exp(), frames.float(), rtol=1e-4, atol=1e-6)
        last = weights[-1] / 2 if model.config.dynamic_static_fusion else weights[-1] * 0
        weights = torch.cat([weights[:-1], torch.stack([weights[-1] - last, last])])
        torch.testing.assert_close(output.frame_weights[clip], weights.float(), rtol=1e-4, atol=1e-6)
    assert sum(filtered) == model.config.snippet_filter
    assert output.loss.item() == pytest.approx(loss, rel=1e-5)
    assert output.loss_parts["cross_entropy"].item() == output.loss.item()


@pytest.mark.parametrize("letter", TABLE_1)
def test_each_row_of_table_1_can_be_trained(build, clips, letter):
    model = build(**switches(letter)).train()
    model(pixel_values_videos=clips, labels=torch.tensor([0, 6])).loss.backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


# ------------------------------------------------------------------------------------------------------------ spatial
# stage


def test_fused_features_are_the_sum_of_static_and_dynamic_ones(build, clips):
    model = build()
    _, seen = record(model, clips)
    maps = seen["trunk"][1].feature_maps[0].unflatten(0, (2, 8))
    assert maps.shape == (2, 8, 16, 4, 4)
    for clip in range(2):
        for frame in range(7):
            place = clip * 7 + frame
            torch.testing.assert_close(
                seen["fusion.dynamic_branch"][0][place], maps[clip, frame + 1] - maps[clip, frame]
            )
            torch.testing.assert_close(seen["fusion.down_convolution"][0][place], maps[clip, frame])
            fused = seen["fusion.dynamic_branch"][1][place] + seen["fusion.static_transformer"][1][place]
            torch.testing.assert_close(seen["fusion"][1][clip, frame], fused.flatten())
    assert seen["fusion"][1].shape == (2, 7, 16 * 2 * 2)


def test_the_static_transformer_relates_patches(build, clips):
    model = build(spatial_layers=2)
    _, seen = record(model, clips)
    transformer = model.fusion.static_transformer
    features, answers = seen["fusion.static_transformer"]
    torch.testing.assert_close(features, seen["fusion.down_convolution"][1], rtol=0, atol=0)
    for place in (0, 6, 13):
        patches = []
        for row in range(2):
            patches += [features[place, :, row, column].double() for column in range(2)]
        tokens = torch.stack(patches) + transformer.position_embeddings[0].detach().double()  # Eq. 3
        tokens, _ = encode(transformer.layers, tokens, model.config.num_heads)
        for index, token in enumerate(tokens):
            mixed = answers[place, :, index // 2, index % 2]
            torch.testing.assert_close(mixed, token.float(), rtol=1e-4, atol=1e-5)


def test_without_fusion_there_is_no_dynamic_branch_and_the_last_frame_counts_nothing(build, clips):
    changed = clips.clone()
    changed[:, -1] += 1
    for fused in (True, False):
        model = build(dynamic_static_fusion=fused, snippet_filter=False)
        assert (model.fusion.dynamic_branch is not None) is fused
        before, _ = record(model, clips)
        after, _ = record(model, changed)
        assert torch.equal(before.logits, after.logits) is not fused
        assert bool((before.frame_weights[:, -1] > 0).all()) is fused


# ----------------------------------------------------------------------------------------------------------- temporal
# stage


def test_the_class_token_is_the_mean_of_the_features_or_learned(build):
    features = torch.randn(2, 7, 64)
    dynamic, learned = build().temporal_transformer, build(dynamic_class_token=False).temporal_transformer
    assert dynamic.class_token is None
    for transformer in (dynamic, learned):
        tokens = transformer.embed(features) - transformer.position_embeddings
        torch.testing.assert_close(tokens[:, 1:], features, rtol=1e-5, atol=1e-5)
        expected = features.sum(dim=1) / 7 if transformer is dynamic else learned.class_token[0].expand(2, -1)
        torch.testing.assert_close(tokens[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_the_order_of_the_frames_matters_through_differences_and_positions_only(build, clips, fused):
    model = build(dynamic_static_fusion=fused, snippet_filter=False)
    # The last frame in its place.
    shuffled = clips[:, [3, 0, 6, 1, 5, 2, 4, 7]]
    for positions in (True, False):
        if not positions:
            nn.init.zeros_(model.temporal_transformer.position_embeddings)
        before, _ = record(model, clips)
        after, _ = record(model, shuffled)
        difference = (before.logits - after.logits).abs().max()
        assert difference > 1e-3 if positions or fused else difference < 1e-4


def test_recorded_attentions_are_those_of_the_whole_clip(build, clips):
    model = build()
    model.set_attn_implementation("eager")
    output, _ = record(model, clips, output_attentions=True, output_hidden_states=True)
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 2, 8, 8)] * 2
    assert [tuple(states.shape) for states in output.hidden_states] == [(2, 8, 64)] * 3


def test_soft_labels_enter_the_cross_entropy(build, clips):
    target = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.75]])
    output, _ = record(build(snippet_filter=False), clips, labels=target)
    expected = 0.0
    for row, weights in zip(output.logits.double().log_softmax(dim=-1).tolist(), target.tolist(), strict=True):
        expected -= sum(weight * value for weight, value in zip(weights, row, strict=True)) / 2
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# size


def measure(config):
    """Parameters, and multiply-adds of one clip: in convolutions, in transformers and in the classifier."""
    with torch.device("meta"):
        model = NrDfernetForVideoClassification(config).eval()
        clip = torch.empty(1, config.num_frames, 3, config.image_size, config.image_size)
    # Has no numbers to look at.
    model.check_pixel_values = lambda _clip: None
    counts = {"convolutions": 0, "transformers": 0, "classifier": 0}

    def count(module, _inputs, output):
        kind = "convolutions" if isinstance(module, nn.Conv2d) else "transformers"
        kind = "classifier" if module is model.classifier else kind
        counts[kind] += output.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(pixel_values_videos=clip)
    return sum(parameter.numel() for parameter in model.parameters()), counts


@pytest.mark.parametrize("layers", TABLE_3, ids=str)
def test_the_papers_size_follows_table_3(layers):
    spatial_layers, temporal_layers = layers
    parameters, counts = measure(NrDfernetConfig(spatial_layers=spatial_layers, temporal_layers=temporal_layers))
    assert counts["convolutions"] == pytest.approx(3.84e9, rel=0.001)
    # The authors' code evaluates each residual branch twice, to the same effect, and the paper counts what it runs.
    printed = counts["convolutions"] + 2 * counts["transformers"] + counts["classifier"]
    assert printed == pytest.approx(TABLE_3[layers] * 1e9, abs=0.03e9)
    if layers == (2, 4):
        assert parameters == pytest.approx(31.3e6, rel=0.002)
        assert sum(counts.values()) == pytest.approx(5.08e9, rel=0.002)
        assert NrDfernetConfig.printed["paper"].multiply_adds == TABLE_3[layers]


def test_switching_a_component_off_takes_its_parameters_away(build):
    def names(**fields):
        return {name for name, _ in build(**fields).named_parameters()}

    whole = names()
    without = whole - names(dynamic_static_fusion=False)
    assert without
    assert all(name.startswith("fusion.dynamic_branch.") for name in without)
    assert names(dynamic_class_token=False) - whole == {"temporal_transformer.class_token"}
    assert names(snippet_filter=False) == whole


def test_the_small_size_fits_in_thirty_megabytes():
    with torch.device("meta"):
        model = NrDfernetForVideoClassification(NrDfernetConfig.from_preset("small"))
    stored = sum(tensor.numel() * (2 if tensor.is_floating_point() else 8) for tensor in model.state_dict().values())
    assert stored < 30e6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_sizes": [8, 16]}, "`hidden_sizes` and `depths` must have three entries"),
        ({"depths": [1, 1, 1, 1]}, "`hidden_sizes` and `depths` must have three entries"),
        ({"temporal_layers": 0}, "`temporal_layers` must be at least 1"),
        ({"spatial_layers": 0}, "`spatial_layers` must be at least 1"),
        ({"snippet_stride": 0}, "`snippet_stride` must be at least 1"),
        ({"snippet_length": 4}, "`num_frames` must be larger than `snippet_length`"),
        ({"snippet_confidence": 1.5}, "`snippet_confidence` must be between 0 and 1"),
        ({"snippet_neutrality": -0.1}, "`snippet_neutrality` must be between 0 and 1"),
    ],
    ids=str,
)
def test_settings_the_paper_does_not_know_are_refused(tiny_config, fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config("nr_dfernet", **fields)
