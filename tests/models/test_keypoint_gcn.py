"""The key-points GCN against its paper (Huang et al., EAAI 2024), written out again in plain loops and doubles."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dfer_hf.models.configuration_keypoint_gcn import KeypointGcnConfig
from dfer_hf.models.modeling_keypoint_gcn import KeypointGcnForVideoClassification, adjacency_matrix, key_points

from .conftest import answer, with_random_statistics

TABLE_9 = {
    "A": {"graph_convolution": False, "fusion": "mean", "temporal": "none"},
    "B": {"temporal": "none"},
    "C": {"temporal": "lstm"},
    "D": {"graph_convolution": False},
    "E": {},
}
TABLE_10 = {"mean": {"fusion": "mean"}, "LSTM": {"fusion": "lstm"}}
VARIANTS = TABLE_9 | TABLE_10


@pytest.fixture
def clips(tiny_config, random_clips):
    return random_clips(tiny_config("keypoint_gcn"))


@pytest.fixture
def landmarks():
    return torch.rand(2, 4, 68, 2, generator=torch.Generator().manual_seed(2)) * 40 - 4  # some lie outside


@pytest.fixture
def build(tiny_model):
    """A tiny model whose weights are far enough from their first values for every part to matter.

    The graph stays, and what would close Eq. 4 for good or send the landmarks out of the picture.
    """

    def build_with(**fields):
        model = tiny_model("keypoint_gcn", **fields)
        keep = ("landmark_head.", "graph_convolution.relation", "graph_convolution.adjacency")
        kept = {name: value.clone() for name, value in model.state_dict().items() if name.startswith(keep)}
        with_random_statistics(model).load_state_dict(kept, strict=False)
        return model

    return build_with


def record(model, clips, **kwargs):
    """Run the model and keep what goes into and comes out of the parts the paper names."""
    seen = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _m, inputs, output, name=name: seen.update({name: (inputs, output)})
        )
        for name, _ in model.named_children()
    ]
    output = answer(model, clips, **kwargs)
    for hook in hooks:
        hook.remove()
    return output, seen


# -------------------------------------------------------------------------------------------- a frame's token


def test_the_third_stage_keeps_the_resolution(build):
    model = build()
    sizes = {}
    for index, stage in enumerate(model.trunk.encoder.stages):
        stage.register_forward_hook(lambda _m, _i, output, index=index: sizes.update({index: output.shape[-1]}))
    model.config.image_size = 112
    answer(model, torch.randn(1, 4, 3, 112, 112))
    assert sizes == {0: 28, 1: 14, 2: 14, 3: 7}


def test_the_key_points_draw_their_features_from_the_map(build, landmarks):
    """Eq. 2, and that x is x and a pixel a pixel."""
    model = build()
    model.config.image_size = 64  # a map of 4×4
    _, seen = record(model, torch.randn(2, 4, 3, 64, 64), landmarks=landmarks)
    maps = seen["triplet_attention"][1].double()
    local, whole = seen["graph_convolution"][0]
    points = key_points(landmarks.flatten(0, 1).double()) / 64 * 4  # in cells
    sigma = model.config.heat_map_sigma
    for frame in range(8):
        for node in range(18):
            expected = torch.zeros_like(maps[0, :, 0, 0])
            for row in range(4):
                for column in range(4):
                    x, y = column + 0.5 - points[frame, node, 0], row + 0.5 - points[frame, node, 1]
                    density = math.exp(-(x * x + y * y) / (2 * sigma**2)) / (2 * math.pi * sigma**2)
                    expected += maps[frame, :, row, column] * density
            torch.testing.assert_close(local[frame, node].double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole[:, 0].double(), maps.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)


def test_the_relation_starts_open(tiny_model, clips):
    model = tiny_model("keypoint_gcn")
    _, seen = record(model, clips)
    local, whole = seen["graph_convolution"][0]
    relevance = local @ model.graph_convolution.relation @ whole.transpose(1, 2)
    assert (relevance > 0).all()
    torch.testing.assert_close(relevance, local @ whole.transpose(1, 2) / 24)
    assert torch.equal(model.graph_convolution.adjacency, adjacency_matrix())


def test_regions_stand_side_by_side(build):
    model = build()
    nodes = torch.randn(3, 19, 8, dtype=torch.float64)
    for frame, token in zip(nodes, model.fuse(nodes), strict=True):
        left = sum(frame[node] for node in (0, 1, 2, 3, 4)) / 5
        right = sum(frame[node] for node in (5, 6, 7, 8, 9)) / 5
        lower = sum(frame[node] for node in (12, 13, 14, 15, 16, 17)) / 6
        torch.testing.assert_close(token, torch.cat([left, right, lower, frame[18]]))


def test_the_other_fusions_are_those_of_table_10(build):
    nodes = torch.randn(3, 19, 8)
    torch.testing.assert_close(build(fusion="mean").fuse(nodes), sum(nodes[:, i] for i in range(19)) / 19)
    model = build(fusion="lstm")
    cell = nn.LSTMCell(8, 8)
    cell.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in model.fusion_lstm.state_dict().items()})
    state = (torch.zeros(3, 8), torch.zeros(3, 8))
    for node in range(19):
        state = cell(nodes[:, node], state)
    torch.testing.assert_close(model.fuse(nodes), state[0])


# --------------------------------------------------------------------------------------------------------- time and
# losses


def cross_entropy(logits, target):
    highest = max(logits)
    total = sum(math.exp(value - highest) for value in logits)
    return -sum(y * (value - highest - math.log(total)) for value, y in zip(logits, target, strict=True))


@pytest.mark.parametrize("weight", [0, 0.2, 0.5])
@pytest.mark.parametrize("name", VARIANTS)
def test_losses_are_those_of_the_paper(build, clips, landmarks, name, weight):
    model = build(lambda_spatial=weight, **VARIANTS[name])
    targets = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    output, seen = record(model, clips, labels=targets, landmarks=landmarks)
    tokens = model.fuse(seen["graph_convolution"][1]).unflatten(0, (2, 4)).double()
    head = model.spatial_classifier
    spatial = temporal = 0.0
    for clip in range(2):
        mean = sum(tokens[clip, frame] for frame in range(4)) / 4  # Eq. 5
        logits = (head.weight.double() @ mean + head.bias.double()).tolist()
        target = targets[clip].double().tolist()
        spatial += cross_entropy(logits, target) / 2
        if model.config.temporal == "none":
            temporal = spatial
        else:
            summary = seen["temporal"][1][0][clip].double()
            last = model.classifier
            logits = (last.weight.double() @ summary + last.bias.double()).tolist()
            temporal += cross_entropy(logits, target) / 2
        torch.testing.assert_close(output.logits[clip], torch.tensor(logits), rtol=1e-4, atol=1e-5)
    assert output.loss_parts["spatial"].item() == pytest.approx(spatial, rel=2e-5)
    assert output.loss_parts["cross_entropy"].item() == pytest.approx(temporal, rel=2e-5)
    assert output.loss.item() == pytest.approx(weight * spatial + (1 - weight) * temporal, rel=2e-5)
    probabilities = output.logits.softmax(dim=-1)
    for place, members in enumerate(model.config.groups.values()):
        total = sum(probabilities[:, model.config.label2id[label]] for label in members)
        torch.testing.assert_close(output.coarse_logits[:, place].exp(), total)


def test_frame_answers_are_the_auxiliary_classifiers(build, clips, landmarks):
    model = build()
    output, seen = record(model, clips, landmarks=landmarks)
    tokens = model.fuse(seen["graph_convolution"][1])
    torch.testing.assert_close(output.frame_logits.flatten(0, 1), model.spatial_classifier(tokens).detach())


@pytest.mark.parametrize("name", VARIANTS)
def test_the_order_of_the_frames_matters_unless_they_are_averaged(build, clips, landmarks, name):
    model = build(**VARIANTS[name])
    order = [2, 0, 3, 1]
    model, clips = model.double(), clips.double()
    straight = answer(model, clips, landmarks=landmarks)
    shuffled = answer(model, clips[:, order], landmarks=landmarks[:, order])
    torch.testing.assert_close(straight.frame_logits[:, order], shuffled.frame_logits, rtol=1e-4, atol=1e-5)
    same = torch.allclose(straight.logits, shuffled.logits, rtol=1e-6, atol=1e-6)
    assert same == (model.config.temporal == "none")


def test_frame_weights_are_the_attention_rolled_out(build, clips):
    model = build()
    model.set_attn_implementation("eager")
    output = answer(model, clips, output_attentions=True)
    assert len(output.attentions) == 2
    for clip in range(2):
        flow = torch.eye(5, dtype=torch.float64)
        for weights in output.attentions:
            flow = (0.5 * weights[clip].double().mean(dim=0) + 0.5 * torch.eye(5, dtype=torch.float64)) @ flow
        expected = flow[0, 1:] / flow[0, 1:].sum()
        torch.testing.assert_close(output.frame_weights[clip].double(), expected, rtol=1e-5, atol=1e-6)


def test_without_a_temporal_module_frames_count_alike(build, clips):
    output = answer(build(temporal="none"), clips)
    assert torch.equal(output.frame_weights, torch.full((2, 4), 0.25))
    torch.testing.assert_close(output.logits, output.frame_logits.mean(dim=1))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_of_tables_9_and_10_can_be_trained_saved_and_explained(build, clips, tmp_path, name):
    model = build(**VARIANTS[name]).train()
    model(pixel_values_videos=clips, labels=torch.tensor([0, 6])).loss.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    assert not without
    model.eval().save_pretrained(tmp_path)
    loaded = KeypointGcnForVideoClassification.from_pretrained(tmp_path)
    before, after = answer(model, clips), answer(loaded, clips)
    torch.testing.assert_close(before.logits, after.logits, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(before.frame_weights, after.frame_weights, rtol=1e-5, atol=1e-6)
    evidence = []
    layer = loaded.get_submodule(loaded.evidence_layer)
    layer.register_forward_hook(lambda _module, _inputs, output: evidence.append(output))
    score = loaded(pixel_values_videos=clips).logits[:, 3].sum()
    (gradient,) = torch.autograd.grad(score, evidence[0])
    # Every frame's map speaks for or against it.
    assert (gradient.abs().sum(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("heads", [6, 8, 10, 12])
@pytest.mark.parametrize("layers", [2, 6])
def test_every_row_of_tables_11_and_12_can_be_built(build, clips, heads, layers):
    model = build(temporal_heads=heads, temporal_layers=layers)
    assert len(model.temporal.layers) == layers
    model.set_attn_implementation("eager")
    output = answer(model, clips, output_attentions=True)
    assert [weights.shape[1] for weights in output.attentions] == [heads] * layers


def test_wider_gaussians_change_the_answer(build, clips, landmarks):
    first = answer(build(heat_map_sigma=0.7), clips, landmarks=landmarks)
    second = answer(build(heat_map_sigma=1.4), clips, landmarks=landmarks)
    assert (first.logits - second.logits).abs().max() > 1e-4


def test_dropout_acts_in_training_only(build, clips):
    model = build(classifier_dropout=0.5)
    assert torch.equal(answer(model, clips).logits, answer(model, clips).logits)
    for module in model.modules():
        module.training = isinstance(module, nn.Dropout)
    first, second = answer(model, clips), answer(model, clips)
    assert not torch.equal(first.logits, second.logits)
    assert not torch.equal(first.frame_logits, second.frame_logits)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fusion": "max"}, "`fusion` must be one of"),
        ({"temporal": "gru"}, "`temporal` must be one of"),
        ({"heat_map_sigma": 0}, "`heat_map_sigma` must be positive"),
        ({"lambda_spatial": 0.6}, "`lambda_spatial` must be between 0 and 0.5"),
        ({"lambda_spatial": -0.1}, "`lambda_spatial` must be between 0 and 0.5"),
    ],
    ids=str,
)
def test_settings_the_paper_does_not_know_are_refused(tiny_config, fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config("keypoint_gcn", **fields)


# ---------------------------------------------------------------------------------------------------------------
# landmarks


def test_landmarks_that_are_given_are_used(build, clips, landmarks):
    model = build()
    given, seen = record(model, clips, landmarks=landmarks)
    assert "landmark_head" not in seen
    moved = landmarks.clone()
    moved[1, 2] += 3
    changed = (given.frame_logits - answer(model, clips, landmarks=moved).frame_logits).abs().amax(dim=-1)
    assert changed.nonzero().tolist() == [[1, 2]]


def test_landmarks_left_out_are_the_heads(build, clips):
    model = build()
    found, seen = record(model, clips)
    pixels = seen["landmark_head"][1].unflatten(0, (2, 4)) * model.config.image_size
    given = answer(model, clips, landmarks=pixels)
    torch.testing.assert_close(found.logits, given.logits, rtol=1e-4, atol=1e-5)
    model.landmark_head.votes.bias.data[1:] += 5
    assert (found.logits - answer(model, clips).logits).abs().max() > 1e-4


@pytest.mark.parametrize(
    "shape", [(4, 68, 2), (1, 4, 68, 2), (2, 3, 68, 2), (2, 4, 5, 2), (2, 4, 68, 3), (2, 4, 2, 68)], ids=str
)
def test_landmarks_of_another_shape_are_refused(build, clips, shape):
    with pytest.raises(ValueError, match=r"Expected `landmarks` of shape \(2, 4, 68, 2\)") as error:
        build()(pixel_values_videos=clips, landmarks=torch.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_landmarks_that_are_no_numbers_are_refused(build, clips, landmarks, value):
    # Of a landmark the model does not look at.
    landmarks[1, 3, 40, 1] = value
    with pytest.raises(ValueError, match="Expected finite `landmarks`, got NaN or infinity"):
        build()(pixel_values_videos=clips, landmarks=landmarks)


def test_landmarks_far_outside_leave_nothing_to_their_points(build, clips, landmarks):
    output, seen = record(build(), clips, landmarks=torch.full_like(landmarks, 1e6))
    assert torch.isfinite(output.logits).all()
    assert torch.equal(seen["graph_convolution"][0][0], torch.zeros(8, 18, 24))


@pytest.mark.parametrize("source", ["fresh", "loaded"])
def test_the_landmark_head_stays_as_it_was_in_training(tiny_config, clips, tmp_path, source):
    model = KeypointGcnForVideoClassification(tiny_config("keypoint_gcn"))  # in training, as torch builds modules
    assert model.training
    assert not any(module.training for module in model.landmark_head.modules())
    if source == "loaded":
        model.save_pretrained(tmp_path)
        model = KeypointGcnForVideoClassification.from_pretrained(tmp_path)
    assert not any(parameter.requires_grad for parameter in model.landmark_head.parameters())
    before = {name: tensor.clone() for name, tensor in model.landmark_head.state_dict().items()}
    trunk_before = {name: tensor.clone() for name, tensor in model.trunk.state_dict().items()}
    model.train()
    assert model.trunk.training
    assert not any(module.training for module in model.landmark_head.modules())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        model(pixel_values_videos=clips, labels=torch.tensor([0, 6])).loss.backward()
        assert all(parameter.grad is None for parameter in model.landmark_head.parameters())
        optimiser.step()
        optimiser.zero_grad()
    for name, tensor in model.landmark_head.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, tensor in model.trunk.state_dict().items():
        assert not torch.equal(tensor, trunk_before[name]), name


# --------------------------------------------------------------------------------------------------------------------
# size


def size_of(monkeypatch, preset, **fields):
    """Millions of parameters and billions of multiply-adds, without the landmark head and of it."""
    config = KeypointGcnConfig.from_preset(preset, **fields)
    with torch.device("meta"):
        model = KeypointGcnForVideoClassification(config).eval()
    # There are no values on the meta device.
    for check in ("check_pixel_values", "check_landmarks"):
        monkeypatch.setattr(model, check, lambda *_args: None)
    head = sum(parameter.numel() for parameter in model.landmark_head.parameters())
    whole = sum(parameter.numel() for parameter in model.parameters())
    clip = torch.empty(1, config.num_frames, 3, config.image_size, config.image_size, device="meta")
    with FlopCounterMode(display=False) as with_landmarks:
        answer(model, clip, landmarks=torch.empty(1, config.num_frames, 68, 2, device="meta"))
    with FlopCounterMode(display=False) as without_landmarks:
        answer(model, clip)
    given, found = (counter.get_total_flops() / 2e9 for counter in (with_landmarks, without_landmarks))
    return (whole - head) / 1e6, given, head / 1e6, found - given


def test_the_papers_size(monkeypatch):
    parameters, multiply_adds, head_parameters, head_multiply_adds = size_of(monkeypatch, "paper")
    assert parameters == pytest.approx(17.825, abs=0.001)
    assert int(parameters) == KeypointGcnConfig.printed["paper"].parameters
    assert multiply_adds == pytest.approx(17.27, abs=0.01)
    assert multiply_adds == pytest.approx(KeypointGcnConfig.printed["paper"].multiply_adds, rel=0.02)
    assert head_parameters < 1
    assert head_multiply_adds < 3


def test_the_small_preset_is_a_quarter_of_the_papers(monkeypatch):
    parameters, multiply_adds, *_ = size_of(monkeypatch, "small")
    assert parameters == pytest.approx(17.825 / 4, rel=0.02)
    assert multiply_adds == pytest.approx(17.27 / 4, rel=0.05)


@pytest.mark.parametrize(
    ("name", "expected"), [("A", 11.243), ("B", 11.508), ("C", 13.613), ("D", 17.563), ("E", 17.825)]
)
def test_table_9_adds_and_removes_parts(monkeypatch, name, expected):
    assert size_of(monkeypatch, "paper", **TABLE_9[name])[0] == pytest.approx(expected, abs=0.001)
