"""The parts of the key-points GCN that stand on their own, against plain loops over Python's double precision."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError

from dfer_hf.models.configuration_keypoint_gcn import KeypointGcnConfig
from dfer_hf.models.modeling_keypoint_gcn import (
    CHEEK_TRIANGLES,
    EDGES,
    LANDMARKS,
    REGIONS,
    KeyPointGraphConvolution,
    TemporalLstm,
    adjacency_matrix,
    build_wide_trunk,
    heat_maps,
    key_points,
)
from dfer_hf.models.modeling_triplet_attention import TripletAttention

from .conftest import with_random_statistics

MIRROR = [
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),  # nose
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),  # mouth
]


@pytest.fixture
def build_graph():
    def build(*, takes_in_neighbours=True):
        module = KeyPointGraphConvolution(24, 8, takes_in_neighbours=takes_in_neighbours).double()
        if takes_in_neighbours:
            module.relation.data.normal_()
            module.adjacency.copy_(adjacency_matrix())
        return module

    return build


def test_triplet_attention_gates_three_planes():
    torch.manual_seed(3)
    module = with_random_statistics(TripletAttention(), spread=0.3).double().eval()
    features = torch.randn(2, 5, 4, 3, dtype=torch.float64)

    # Planes: axis to pool, rows, columns.
    def gate(part, planes):
        height, width = planes.shape[1:]
        pooled = [planes.max(dim=0).values, planes.mean(dim=0)]
        kernel, norm = part.convolution.weight[0], part.norm
        result = torch.zeros(height, width, dtype=torch.float64)
        for row in range(height):
            for column in range(width):
                total = 0.0
                for channel in range(2):
                    for down in range(-3, 4):
                        for right in range(-3, 4):
                            if 0 <= row + down < height and 0 <= column + right < width:
                                value = pooled[channel][row + down, column + right]
                                total += kernel[channel, down + 3, right + 3] * value
                scaled = (total - norm.running_mean[0]) / math.sqrt(norm.running_var[0] + norm.eps)
                result[row, column] = 1 / (1 + math.exp(-(scaled * norm.weight[0] + norm.bias[0])))
        return result

    with torch.no_grad():
        for image, output in zip(features, module(features), strict=True):
            over_height = gate(module.gates[0], image.permute(1, 0, 2))  # (C, w)
            over_width = gate(module.gates[1], image.permute(2, 0, 1))  # (C, h)
            over_channels = gate(module.gates[2], image)  # (h, w)
            expected = torch.empty_like(image)
            for c in range(5):
                for y in range(4):
                    for x in range(3):
                        factor = over_height[c, x] + over_width[c, y] + over_channels[y, x]
                        expected[c, y, x] = image[c, y, x] * factor / 3
            torch.testing.assert_close(output, expected)
    assert sum(parameter.numel() for parameter in module.parameters()) == 300


def test_key_points_are_sixteen_landmarks_and_the_centres_of_two_triangles():
    points = torch.rand(3, 68, 2, dtype=torch.float64)
    chosen = key_points(points)
    assert chosen.shape == (3, 18, 2)
    assert len(set(LANDMARKS)) == 16
    for node, landmark in enumerate(LANDMARKS):
        torch.testing.assert_close(chosen[:, node], points[:, landmark])
    for node, (a, b, c) in enumerate(CHEEK_TRIANGLES, start=16):
        torch.testing.assert_close(chosen[:, node], (points[:, a] + points[:, b] + points[:, c]) / 3)


def test_points_edges_and_regions_are_the_same_on_both_sides_of_the_face():
    mirrored_nodes = {}
    for node, landmark in enumerate(LANDMARKS):
        mirrored_nodes[node] = LANDMARKS.index(MIRROR[landmark])
    for left, right in zip(*CHEEK_TRIANGLES, strict=True):
        assert MIRROR[left] == right
    mirrored_nodes |= {16: 17, 17: 16}
    edges = {frozenset(edge) for edge in EDGES}
    assert len(edges) == len(EDGES)
    assert {frozenset(mirrored_nodes[node] for node in edge) for edge in EDGES} == edges
    left, right, lower = (set(range(18)[region]) for region in REGIONS)
    assert {mirrored_nodes[node] for node in left} == right
    assert {mirrored_nodes[node] for node in lower} == lower
    assert [len(left), len(right), len(lower)] == [5, 5, 6]
    # The bridge of the nose.
    assert set(range(18)) - left - right - lower == {10, 11}


def test_the_graph_is_whole_and_joins_no_node_to_itself():
    matrix = adjacency_matrix()
    assert torch.equal(matrix, matrix.T)
    assert matrix.diagonal().sum() == 0
    assert matrix.sum() == 2 * len(EDGES)
    assert (torch.linalg.matrix_power(matrix + torch.eye(18), 17) > 0).all()


def test_heat_maps_are_gaussians_about_their_points():
    points = torch.tensor([[[0.5, 0.5], [0.1, 0.8], [-0.2, 1.3]]], dtype=torch.float64)
    maps = heat_maps(points, 3, 5, 0.7)
    assert maps.shape == (1, 3, 3, 5)
    for point in range(3):
        for row in range(3):
            for column in range(5):
                x = column + 0.5 - points[0, point, 0].item() * 5
                y = row + 0.5 - points[0, point, 1].item() * 3
                density = math.exp(-(x * x + y * y) / (2 * 0.7**2)) / (2 * math.pi * 0.7**2)
                assert maps[0, point, row, column].item() == pytest.approx(15 * density)
    assert heat_maps(torch.full((1, 1, 2), 0.4), 9, 9, 0.7).mean().item() == pytest.approx(1, rel=1e-3)


def test_the_graph_convolution_is_equations_3_and_4(build_graph):
    module = build_graph()
    local = torch.rand(3, 18, 24, dtype=torch.float64) - 0.3
    whole = torch.rand(3, 1, 24, dtype=torch.float64) - 0.3
    closed = 0
    with torch.no_grad():
        output = module(local, whole)
        for frame in range(3):
            rows = []
            for node in range(18):
                agreement = sum(
                    local[frame, node, i] * module.relation[i, j] * whole[frame, 0, j]
                    for i in range(24)
                    for j in range(24)
                )
                relevance = max(0.0, agreement.item())
                closed += relevance == 0
                neighbours = [b if a == node else a for a, b in EDGES if node in (a, b)]
                rows.append(local[frame, node] + sum(relevance * local[frame, other] for other in neighbours))
            rows.append(whole[frame, 0])
            expected = [(module.narrow.weight @ row + module.narrow.bias).clamp_min(0) for row in rows]
            torch.testing.assert_close(output[frame], torch.stack(expected))
    assert 0 < closed < 54  # the ReLU of Eq. 4 was seen open and shut


@pytest.mark.parametrize("takes_in_neighbours", [True, False])
def test_neighbours_count_only_with_the_graph(build_graph, takes_in_neighbours):
    module = build_graph(takes_in_neighbours=takes_in_neighbours)
    if takes_in_neighbours:
        module.relation.data.fill_(0.1)  # open
    local, whole = torch.rand(1, 18, 24).double(), torch.rand(1, 1, 24).double()
    changed = local.clone()
    changed[0, 10] += 1
    with torch.no_grad():
        moved = (module(local, whole) - module(changed, whole)).abs().amax(dim=-1)[0]
    expected = {10} | ({4, 9, 11} if takes_in_neighbours else set())
    assert set(moved.nonzero().flatten().tolist()) == expected


def test_an_lstm_weighs_frames_by_what_they_wrote_of_its_memory():
    torch.manual_seed(5)
    module = TemporalLstm(6)
    frames = torch.randn(2, 5, 6) * 2
    summary, shares = module(frames)
    lstm = module.lstm
    with torch.no_grad():
        memory, hidden, written = torch.zeros(2, 6), torch.zeros(2, 6), []
        for frame in range(5):
            gates = frames[:, frame] @ lstm.weight_ih_l0.T + lstm.bias_ih_l0
            gates = gates + hidden @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
            write, keep, candidate, speak = gates.chunk(4, dim=-1)
            written = [part * keep.sigmoid() for part in written] + [write.sigmoid() * candidate.tanh()]
            memory = memory * keep.sigmoid() + write.sigmoid() * candidate.tanh()
            hidden = speak.sigmoid() * memory.tanh()
        torch.testing.assert_close(summary, hidden)
        # The terms are the whole memory.
        torch.testing.assert_close(sum(written), memory)
        amounts = torch.stack([part.abs().sum(dim=-1) for part in written], dim=1)
    torch.testing.assert_close(shares, amounts / amounts.sum(dim=1, keepdim=True))
    assert not shares.requires_grad


def test_an_lstm_that_wrote_nothing_weighs_frames_alike():
    module = TemporalLstm(6)
    for parameter in module.parameters():
        parameter.data.zero_()
    assert torch.equal(module(torch.randn(1, 4, 6))[1], torch.full((1, 4), 0.25))


@pytest.mark.parametrize(("stages", "side"), [([3], 7), ([3, 4], 14), ([4], 7), ([], 4)])
def test_stages_keep_their_resolution_as_the_configuration_says(stages, side):
    with torch.device("meta"):
        trunk = build_wide_trunk(KeypointGcnConfig(unstrided_stages=stages))
        assert trunk(torch.empty(1, 3, 112, 112)).feature_maps[0].shape == (1, 512, side, side)


def test_stages_that_there_are_not_are_refused():
    with pytest.raises(
        StrictDataclassClassValidationError, match=r"`unstrided_stages` must be some of \[2, 3, 4\], got \[5\]"
    ):
        KeypointGcnConfig(unstrided_stages=[5])
