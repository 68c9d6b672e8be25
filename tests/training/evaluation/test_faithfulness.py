import torch
from torch import nn

from dfer_hf.models.modeling_dfer import DferOutput
from training.evaluation import faithfulness
from training.evaluation.faithfulness import Loss, cover, losses_of, measure, table


class CornerReader(nn.Module):
    """Answers by a quarter of the frames: the upper left one of a bright clip, else the lower right."""

    evidence_layer = "seen"
    config = None

    def __init__(self):
        super().__init__()
        self.seen = nn.Identity()

    def forward(self, pixel_values_videos):
        frames = self.seen(pixel_values_videos.flatten(0, 1)).unflatten(0, pixel_values_videos.shape[:2])
        upper, lower = (frames[..., part, part].mean(dim=(1, 2, 3, 4)) for part in (slice(0, 8), slice(8, 16)))
        return DferOutput(logits=8 * torch.stack([upper, lower], dim=1))

    def decide(self, logits):
        return logits.argmax(dim=-1)


def two_clips():
    clips = torch.zeros(2, 3, 1, 16, 16)
    clips[0, ..., :6, :6] = 1
    clips[1, ..., 10:, 10:] = 1
    return clips


def test_the_marked_fifth_of_every_frame_gets_its_mean():
    clips = torch.rand(2, 3, 3, 20, 20)
    maps = torch.zeros(2, 3, 5, 5)
    maps[..., :1, :] = 1  # the upper fifth
    covered = cover(clips, maps)
    changed = (covered != clips).any(dim=2)
    assert (changed.float().mean(dim=(-2, -1)) - 0.2).abs().max() < 0.01
    assert changed[..., :3, :].all()
    torch.testing.assert_close(covered[..., 0, :], clips.mean(dim=(-2, -1))[..., None].expand(-1, -1, -1, 20))


def test_covering_the_evidence_takes_the_answer_and_covering_elsewhere_does_not():
    loss = losses_of(CornerReader().eval(), two_clips(), "seen")
    assert (loss.marked > 0.3).all()
    assert (loss.elsewhere.abs() < 0.2).all()
    assert (loss.marked > loss.elsewhere + 0.2).all()


def test_every_layer_is_measured_on_every_clip(monkeypatch):
    monkeypatch.setattr(faithfulness, "BATCH_SIZE", 2)

    class Clips:
        def __len__(self):
            return 4

        def batch(self, indices, size):
            assert size == 16
            return {"pixel_values_videos": two_clips()[indices % 2]}

    model = CornerReader().eval()
    model.config = type("Config", (), {"image_size": 16})()
    losses = measure(model, Clips(), ["seen"])
    assert len(losses["seen"].marked) == len(losses["seen"].elsewhere) == 4


def test_a_table_shows_means_with_intervals():
    text = table({"trunk": Loss(torch.tensor([0.2, 0.4]), torch.tensor([0.1, 0.1]))})
    assert "| trunk | 0.300 ± 0.196 | 0.100 ± 0.000 |" in text
