import pytest
import torch

from dfer_hf.models.modeling_landmark_head import NUM_LANDMARKS, LandmarkHead


@pytest.fixture
def head():
    torch.manual_seed(0)
    return LandmarkHead(width=4).eval()


def with_votes(head, weight=0.0, bias=None):
    """Let every cell vote the same, whatever it sees."""
    with torch.no_grad():
        head.votes.weight.fill_(weight)
        head.votes.bias.zero_()
        if bias is not None:
            head.votes.bias.copy_(bias)
    return head


@torch.no_grad()
def test_a_landmark_is_the_weighted_mean_of_the_places_voted_for(head):
    head.votes.weight.mul_(3)
    seen = []
    head.votes.register_forward_hook(lambda _module, _inputs, output: seen.append(output.double()))
    frames = torch.randn(2, 3, 32, 32)
    landmarks = head(frames)
    votes = seen[0]
    cells = votes.shape[-1]
    assert votes.shape == (2, 3 * NUM_LANDMARKS, cells, cells)
    for face in range(2):
        for landmark in (0, 17, 67):
            total, x_sum, y_sum = 0.0, 0.0, 0.0
            for row in range(cells):
                for column in range(cells):
                    score, right, down = votes[face, landmark::NUM_LANDMARKS, row, column]
                    weight = score.exp()
                    total += weight
                    x_sum += weight * (column + 0.5 + right) / cells
                    y_sum += weight * (row + 0.5 + down) / cells
            expected = torch.stack([x_sum / total, y_sum / total])
            torch.testing.assert_close(landmarks[face, landmark].double(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_even_votes_without_offset_meet_in_the_middle(head):
    torch.testing.assert_close(with_votes(head)(torch.randn(1, 3, 48, 48)), torch.full((1, 68, 2), 0.5))


@torch.no_grad()
def test_offsets_reach_beyond_the_crop(head):
    bias = torch.cat([torch.zeros(2 * NUM_LANDMARKS), torch.full((NUM_LANDMARKS,), 6.0)])
    landmarks = with_votes(head, bias=bias)(torch.randn(1, 3, 32, 32))  # 8 cells a side: six cells farther down
    torch.testing.assert_close(landmarks[0, 8], torch.tensor([0.5, 0.5 + 6 / 8]))


@torch.no_grad()
@pytest.mark.parametrize("size", [16, 30, 48, 112])
def test_frames_may_have_any_size(head, size):
    landmarks = head(torch.randn(2, 3, size, size))
    assert landmarks.shape == (2, 68, 2)
    assert landmarks.isfinite().all()


@torch.no_grad()
def test_frames_do_not_mix(head):
    frames = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(head(frames)[1:2], head(frames[1:2]))


def test_every_parameter_gets_a_gradient():
    head = LandmarkHead(num_channels=1, width=4)
    (head(torch.randn(2, 1, 32, 32)) ** 2).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


def test_the_head_is_small():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in LandmarkHead().parameters())
    assert count == 849_452
