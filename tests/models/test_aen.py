"""AEN against its paper (Lee et al., CVPRW 2023), written out again in plain loops over Python's double precision."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch import nn

from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification

LABELS = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
TABLE_1 = [
    ["cross_entropy"],
    ["multi_class"],
    ["temporal"],
    ["global"],
    ["multi_class", "temporal"],
    ["multi_class", "temporal", "global"],
]
TABLE_2 = [
    {
        "positive": ["happiness", "anger"],
        "neutral": ["neutral", "sadness"],
        "negative": ["fear", "disgust", "surprise"],
    },
    {
        "positive": ["happiness"],
        "neutral": ["neutral", "surprise"],
        "negative": ["fear", "disgust", "sadness", "anger"],
    },
    {
        "positive": ["happiness", "surprise"],
        "neutral": ["neutral"],
        "negative": ["fear", "disgust", "sadness", "anger"],
    },
]


@pytest.fixture
def clips(tiny_config, random_clips):
    return random_clips(tiny_config("aen"))


@pytest.fixture
def build(tiny_model):
    """A tiny AEN whose weights are far enough from their first values for every term to matter."""

    def build_with(**fields):
        model = tiny_model("aen", **fields)
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
        return model

    return build_with


def record(model, clips, **kwargs):
    """Run the model and keep what goes into and comes out of the parts the paper names."""
    seen = {}
    parts = {f"squeeze_{index}": part for index, part in enumerate(model.squeezes)} | {
        f"transformer_{index}": part for index, part in enumerate(model.temporal_transformers)
    }
    for name in ("coarse_converter", "fine_converter", "global_classifier", "coarse_classifier", "fine_classifier"):
        parts[name] = getattr(model, name)
    hooks = [
        part.register_forward_hook(lambda _m, inputs, output, name=name: seen.update({name: (inputs, output)}))
        for name, part in parts.items()
    ]
    with torch.no_grad():
        output = model(pixel_values_videos=clips, **kwargs)
    for hook in hooks:
        hook.remove()
    return output, seen


# ------------------------------------------------------------------------------------- the paper's equations, in plain
# loops


def softmax(row):
    highest = max(row)
    powers = [math.exp(value - highest) for value in row]
    return [power / sum(powers) for power in powers]


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def times(matrix, vector):
    return [sum(entry * value for entry, value in zip(row, vector, strict=True)) for row in matrix]


def group_sums(fine, groups):
    return [sum(fine[LABELS.index(label)] for label in members) for members in groups.values()]


def equation_1(weight_1, weight_2, affective, semantic):
    """F_a = W_2 softmax(W_1 F_{a-1} Vᵀ / √C) V, softmax of each row."""
    left = times(weight_1, affective)
    attended = []
    for entry in left:
        row = softmax([entry * value / math.sqrt(len(semantic)) for value in semantic])
        attended.append(sum(weight * value for weight, value in zip(row, semantic, strict=True)))
    return times(weight_2, attended)


def equation_3(local, global_probabilities, alpha):
    return [alpha * p + (1 - alpha) * g for p, g in zip(softmax(local), global_probabilities, strict=True)]


def equation_2(predictions, targets):
    return -sum(
        y * math.log(p)
        for prediction, target in zip(predictions, targets, strict=True)
        for p, y in zip(prediction, target, strict=True)
        if y
    )


def equation_4(levels, summaries, frame_probabilities, target, reduction):
    total = 0.0
    for frames, summary in zip(levels, summaries, strict=True):
        distances = []
        for channel, value in enumerate(summary):
            guided = 0.0
            for frame, probabilities in zip(frames, frame_probabilities, strict=True):
                belief = sum(p * y for p, y in zip(probabilities, target, strict=True))
                guided += frame[channel] * belief
            distances.append(abs(value - guided))
        total += sum(distances) / (len(distances) if reduction == "mean" else 1)
    return total


def equation_5(locals_, frame_probabilities, groups, beta):
    num_frames = len(frame_probabilities)
    fine = [sum(frame[index] for frame in frame_probabilities) / num_frames for index in range(len(LABELS))]
    total = 0.0
    for weight, local, mean in zip(beta, locals_, (group_sums(fine, groups), fine), strict=True):
        total += weight * sum((sigmoid(value) - m) ** 2 for value, m in zip(local, mean, strict=True))
    return total


def paper(model, output, seen, targets):
    """Every number of the paper for a batch, from what the parts gave: mean losses and probabilities by clip."""
    config, count = model.config, len(targets)
    losses = {"cross_entropy": 0.0, "multi_class": 0.0, "temporal": 0.0, "global": 0.0}
    fine_predictions, coarse_predictions = [], []
    frame_logits = output.frame_logits.double().tolist()
    for clip in range(count):
        levels, summaries = [], []
        for level in range(3):
            maps = seen[f"squeeze_{level}"][1].double().unflatten(0, (count, config.num_frames))[clip]
            levels.append(maps.mean(dim=(2, 3)).tolist())
            summaries.append(seen[f"transformer_{level}"][1][0][clip].double().tolist())
        local_coarse = seen["coarse_classifier"][1][clip].double().tolist()
        local_fine = seen["fine_classifier"][1][clip].double().tolist()
        global_fine = softmax(seen["global_classifier"][1][clip].double().tolist())
        fine = equation_3(local_fine, global_fine, config.alpha)
        coarse = equation_3(local_coarse, group_sums(global_fine, config.groups), config.alpha)
        frame_probabilities = [softmax(row) for row in frame_logits[clip]]
        target = targets[clip]
        losses["cross_entropy"] += equation_2([fine], [target]) / count
        losses["multi_class"] += equation_2([coarse, fine], [group_sums(target, config.groups), target]) / count
        losses["temporal"] += (
            equation_4(levels, summaries, frame_probabilities, target, config.temporal_reduction) / count
        )
        losses["global"] += (
            equation_5([local_coarse, local_fine], frame_probabilities, config.groups, config.beta) / count
        )
        fine_predictions.append(fine)
        coarse_predictions.append(coarse)
    return losses, fine_predictions, coarse_predictions


FACTORS = {"cross_entropy": 1.0, "multi_class": 1.0, "temporal": 0.4, "global": 0.5}


@pytest.mark.parametrize("loss_terms", TABLE_1, ids="+".join)
@pytest.mark.parametrize("groups", TABLE_2, ids=["mixed", "surprise is neutral", "surprise is positive"])
def test_losses_are_those_of_the_paper(build, clips, loss_terms, groups):
    model = build(loss_terms=loss_terms, groups=groups)
    labels = [4, 5]
    output, seen = record(model, clips, labels=torch.tensor(labels))
    targets = [[float(index == label) for index in range(7)] for label in labels]
    losses, fine, coarse = paper(model, output, seen, targets)
    for name, value in losses.items():
        assert output.loss_parts[name].item() == pytest.approx(value, rel=2e-5), name
    whole = sum(FACTORS[term] * losses[term] for term in loss_terms)
    assert output.loss.item() == pytest.approx(whole, rel=2e-5)
    torch.testing.assert_close(output.logits.exp(), torch.tensor(fine), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(output.coarse_logits.exp(), torch.tensor(coarse), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "fields", [{"alpha": 0}, {"alpha": 1.0}, {"alpha": 0.3}, {"temporal_reduction": "mean"}], ids=str
)
def test_losses_follow_their_settings_and_soft_labels(build, clips, fields):
    model = build(beta=[0.9, 2.0], lambda_temporal=0.3, lambda_global=0.7, **fields)
    targets = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.75]])
    output, seen = record(model, clips, labels=targets)
    losses, fine, coarse = paper(model, output, seen, targets.double().tolist())
    for name, value in losses.items():
        assert output.loss_parts[name].item() == pytest.approx(value, rel=2e-5), name
    whole = losses["multi_class"] + 0.3 * losses["temporal"] + 0.7 * losses["global"]
    assert output.loss.item() == pytest.approx(whole, rel=2e-5)
    torch.testing.assert_close(output.logits.exp(), torch.tensor(fine), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(output.coarse_logits.exp(), torch.tensor(coarse), rtol=1e-4, atol=1e-6)


def test_alpha_chooses_between_the_local_and_the_global_classifier(build, clips):
    for alpha, name in ((1, "fine_classifier"), (0, "global_classifier")):
        output, seen = record(build(alpha=alpha), clips)
        torch.testing.assert_close(output.logits.softmax(dim=-1), seen[name][1].softmax(dim=-1))


@torch.no_grad()
def test_the_converters_scale_may_be_that_of_the_level(build, clips):
    """Eq. 1 as printed: √C of level 2 - a instead of √C of the vector that was expanded from it."""
    sizes = build().config.hidden_sizes[1:]
    for scale, widths in {"expanded": (sizes[2], sizes[2]), "level": (sizes[1], sizes[0])}.items():
        model = build(converter_scale=scale)
        assert (model.coarse_converter.scale, model.fine_converter.scale) == tuple(width**0.5 for width in widths)
    assert not torch.equal(build(converter_scale="level")(clips).logits, build()(clips).logits)
    with pytest.raises(
        StrictDataclassClassValidationError, match="`converter_scale` must be 'expanded' or 'level', got 'low'"
    ):
        build(converter_scale="low")


def test_converters_are_equation_1_and_run_from_high_to_low(build, clips):
    model = build()
    _, seen = record(model, clips)
    summaries = [seen[f"transformer_{level}"][1][0] for level in range(3)]
    affective = summaries[2]  # F_0 = V_2
    for converter, level in (("coarse_converter", 1), ("fine_converter", 0)):
        module, (inputs, output) = getattr(model, converter), seen[converter]
        torch.testing.assert_close(inputs[0], affective, rtol=0, atol=0)
        torch.testing.assert_close(inputs[1], summaries[level], rtol=0, atol=0)
        weights = [weight.detach().double().tolist() for weight in (module.weight_1.weight, module.weight_2.weight)]
        semantic = nn.functional.linear(
            summaries[level].double(), module.expand.weight.double(), module.expand.bias.double()
        )
        for clip in range(len(clips)):
            expected = equation_1(*weights, affective[clip].double().tolist(), semantic[clip].tolist())
            torch.testing.assert_close(output[clip], torch.tensor(expected), rtol=1e-4, atol=1e-5)
        affective = output
    torch.testing.assert_close(seen["coarse_classifier"][0][0], seen["coarse_converter"][1], rtol=0, atol=0)
    torch.testing.assert_close(seen["fine_classifier"][0][0], seen["fine_converter"][1], rtol=0, atol=0)
    torch.testing.assert_close(seen["global_classifier"][0][0], summaries[2], rtol=0, atol=0)


@pytest.mark.parametrize("loss_terms", TABLE_1, ids="+".join)
def test_every_row_of_table_1_can_be_trained(build, clips, loss_terms):
    model = build(loss_terms=loss_terms).train()
    model(pixel_values_videos=clips, labels=torch.tensor([0, 6])).loss.backward()
    gradients = [parameter.grad for parameter in model.trunk.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss_terms": ["multi_class", "spatial"]}, "`loss_terms` must be some of"),
        ({"loss_terms": []}, "`loss_terms` must be some of"),
        ({"temporal_reduction": "max"}, "`temporal_reduction` must be 'sum' or 'mean'"),
        ({"beta": [1.0]}, "`beta` must have one weight for each"),
        ({"alpha": 1.1}, "`alpha` must be between 0 and 1"),
        ({"hidden_sizes": [8, 16]}, "`hidden_sizes` and `depths` must have four entries"),
    ],
    ids=str,
)
def test_settings_the_paper_does_not_know_are_refused(tiny_config, fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config("aen", **fields)


# ---------------------------------------------------------------------------------------------------------------- the
# guide


@pytest.mark.parametrize("source", ["fresh", "loaded"])
def test_the_guide_stays_as_it_was_in_training(tiny_model, clips, tmp_path, source):
    model = tiny_model("aen")
    if source == "loaded":
        model.save_pretrained(tmp_path)
        model = AenForVideoClassification.from_pretrained(tmp_path)
    assert not any(parameter.requires_grad for parameter in model.guide.parameters())
    before = {name: tensor.clone() for name, tensor in model.guide.state_dict().items()}
    trunk_before = {name: tensor.clone() for name, tensor in model.trunk.state_dict().items()}
    model.train()
    assert model.trunk.training
    assert not any(module.training for module in model.guide.modules())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        model(pixel_values_videos=clips, labels=torch.tensor([0, 6])).loss.backward()
        assert all(parameter.grad is None for parameter in model.guide.parameters())
        optimiser.step()
        optimiser.zero_grad()
    for name, tensor in model.guide.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, tensor in model.trunk.state_dict().items():
        assert not torch.equal(tensor, trunk_before[name]), name


def test_the_guide_is_frozen_from_the_start(tiny_config):
    # In training, as torch builds modules.
    model = AenForVideoClassification(tiny_config("aen"))
    assert model.training
    assert not any(module.training for module in model.guide.modules())
    assert not any(parameter.requires_grad for parameter in model.guide.parameters())


def test_frame_answers_are_the_guides(build, clips):
    model = build()
    with torch.no_grad():
        torch.testing.assert_close(
            model(pixel_values_videos=clips).frame_logits, model.guide(pixel_values_videos=clips).frame_logits
        )


def test_pictures_may_change_size_between_epochs(build):
    """As in training from small to large: the configuration's size is set, and the guide goes along."""
    model = build()
    model.config.image_size = 40
    output = model(pixel_values_videos=torch.randn(1, 4, 3, 40, 40), labels=torch.tensor([0]))
    assert torch.isfinite(output.loss)


# -------------------------------------------------------------------------------------------------------------- time
# and size


def test_the_order_of_the_frames_matters(build, clips):
    model = build()
    with torch.no_grad():
        forwards, backwards = model(pixel_values_videos=clips), model(pixel_values_videos=clips.flip(1))
    assert (forwards.logits - backwards.logits).abs().max() > 1e-4
    assert (forwards.frame_weights - backwards.frame_weights.flip(1)).abs().max() > 1e-4


def test_frame_weights_are_the_attention_rolled_out(build, clips):
    model = build()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(pixel_values_videos=clips, output_attentions=True)
    layers = model.config.temporal_layers
    assert len(output.attentions) == 3 * layers
    tokens = model.config.num_frames + 1
    assert all(weights.shape == (2, 2, tokens, tokens) for weights in output.attentions)
    for clip in range(len(clips)):
        mean = torch.zeros(model.config.num_frames, dtype=torch.float64)
        for level in range(3):
            flow = torch.eye(tokens, dtype=torch.float64)
            for weights in output.attentions[level * layers : (level + 1) * layers]:
                heads = weights[clip].double().mean(dim=0)
                flow = (0.5 * heads + 0.5 * torch.eye(tokens, dtype=torch.float64)) @ flow
            mean += flow[0, 1:] / flow[0, 1:].sum() / 3
        torch.testing.assert_close(output.frame_weights[clip].double(), mean, rtol=1e-5, atol=1e-6)


def test_the_papers_size():
    with torch.device("meta"):
        model = AenForVideoClassification(AenConfig())
    guide = sum(parameter.numel() for parameter in model.guide.parameters())
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert guide == pytest.approx(11.18e6, rel=0.001)
    assert whole - guide == pytest.approx(22.4e6, rel=0.005)
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == whole - guide


def test_half_the_width_fits_in_thirty_megabytes():
    with torch.device("meta"):
        model = AenForVideoClassification(AenConfig(hidden_sizes=[32, 64, 128, 256]))
    stored = sum(tensor.numel() * (2 if tensor.is_floating_point() else 8) for tensor in model.state_dict().values())
    assert stored < 30e6
