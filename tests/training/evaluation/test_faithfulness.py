import types

import numpy as np
import pytest
import torch
from torch import nn

from dfer_hf.explain import ANSWER, UnknownMethodError, contrast_of, layer_cam
from dfer_hf.hub.evaluation import explanation_table
from dfer_hf.models.modeling_dfer import DferOutput, DferPreTrainedModel
from training.evaluation import faithfulness
from training.evaluation.faithfulness import (
    Row,
    Score,
    cover,
    find_method,
    measure,
    score_frames,
    score_places,
    summarise,
    with_random_weights,
)


class CornerReader(nn.Module):
    """Answers by a quarter of the frames: the upper left one of a bright clip, else the lower right."""

    evidence_layer, last_map_layer, spatial_attention, map_method = "seen", None, None, "layercam"
    sees_frames_apart = takes_any_length = False
    answer_rearranged = DferPreTrainedModel.answer_rearranged

    def __init__(self, config=None):
        super().__init__()
        self.seen = nn.Identity()
        self.config = config or types.SimpleNamespace(label_names=["upper", "lower"], groups={}, image_size=16)

    def forward(self, pixel_values_videos):
        frames = self.seen(pixel_values_videos.flatten(0, 1)).unflatten(0, pixel_values_videos.shape[:2])
        upper, lower = (frames[..., part, part].mean(dim=(2, 3, 4)) for part in (slice(0, 8), slice(8, 16)))
        weights = upper + lower + 0.01
        logits = 8 * torch.stack([upper.mean(dim=1), lower.mean(dim=1)], dim=1)
        return DferOutput(logits=logits, frame_weights=weights / weights.sum(dim=1, keepdim=True))

    def decide(self, logits):
        return logits.argmax(dim=-1)


class TwoClips:
    """The first shows something in the upper left of its second half, the second in the lower right of its first."""

    def __len__(self):
        return 4

    def batch(self, indices, size):
        assert size == 16
        clips = torch.zeros(2, 8, 1, 16, 16)
        clips[0, 4:, :, :6, :6] = 1
        clips[1, :4, :, 10:, 10:] = 1
        return {"pixel_values_videos": clips[indices % 2]}


@pytest.fixture
def model():
    return CornerReader().eval()


@pytest.fixture
def clips():
    return TwoClips().batch(torch.arange(2), 16)["pixel_values_videos"]


@pytest.fixture
def contrast(model, clips):
    return contrast_of(ANSWER, model, model(clips).logits)


def test_the_marked_share_of_every_frame_is_replaced():
    clips, fill = torch.rand(2, 3, 3, 20, 20), torch.full((2, 3, 3, 20, 20), 2.0)
    maps = torch.zeros(2, 3, 5, 5)
    maps[..., :1, :] = 1  # the upper fifth
    covered = cover(clips, fill, maps, 0.2)
    changed = (covered != clips).any(dim=2)
    assert (changed.float().mean(dim=(-2, -1)) - 0.2).abs().max() < 0.01
    assert changed[..., :3, :].all()
    assert (covered[..., 0, :] == 2).all()


def test_a_map_of_the_evidence_scores_and_that_of_another_clip_does_not(model, clips, contrast):
    maps = layer_cam(model, clips).maps
    fill = torch.zeros_like(clips)
    own, other = (score_places(model, clips, fill, shown, contrast) for shown in (maps, maps.roll(1, dims=0)))
    assert (own.insertion > own.deletion + 0.1).all()
    assert (own.gain > other.gain + 0.1).all()


def test_frames_that_hold_the_evidence_score_and_those_of_another_clip_do_not(model, clips, contrast):
    effects = torch.linspace(-1, 1, 8).repeat(2, 1)
    effects[1] *= -1
    own, other = (score_frames(model, clips, shown, contrast) for shown in (effects, effects.roll(1, dims=0)))
    assert (own.gain > 0.05).all()
    assert (other.gain < -0.05).all()


def test_everything_is_measured_on_every_clip_beside_chance(model, monkeypatch):
    monkeypatch.setattr(faithfulness, "BATCH_SIZE", 2)
    places, frames = measure(model, TwoClips(), ["layercam", "gradcam:seen"])
    assert list(places) == ["layercam", "gradcam:seen", "random", "centre"]
    assert list(frames) == ["leaving out", "own weights", "random", "centre"]
    for row in (*places.values(), *frames.values()):
        assert row.own.gain.shape == (4,)
        assert row.own.gain.isfinite().all()
    assert places["layercam"].own.gain.mean() > places["random"].own.gain.mean()
    assert frames["leaving out"].own.gain.mean() > frames["random"].own.gain.mean() + 0.02
    assert places["layercam"].agreement.shape == (4,)
    assert frames["random"].other is None
    assert frames["leaving out"].with_leaving_out is None
    assert frames["own weights"].with_leaving_out.abs().max() <= 1


def test_random_weights_are_others_and_the_same_every_time():
    class Line(nn.Linear):
        """A system of one layer, built from its configuration."""

        def __init__(self, config):
            super().__init__(config, 2)
            self.config = config

    model = Line(3)
    first, second = with_random_weights(model), with_random_weights(model)
    torch.testing.assert_close(first.weight, second.weight)
    assert (first.weight != model.weight).any()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("smoothgrad", UnknownMethodError, "one of .*layercam"),
        ("layercam:nowhere", AttributeError, "nowhere"),
        ("masks:seen", ValueError, "layercam or gradcam alone"),
    ],
)
def test_what_cannot_be_measured_is_refused(model, name, error, words):
    with pytest.raises(error, match=words):
        find_method(model, name)


def test_a_table_shows_means_with_intervals_and_who_is_better_by_half():
    def score(*gains):
        return Score(torch.tensor(gains), torch.zeros(len(gains)))

    rows = {
        "clear": Row(score(0.5, 0.7), score(0.1, 0.1), torch.tensor([0.2, np.nan])),
        "no better": Row(score(0.5, 0.7), score(0.5, 0.6)),
        "random": Row(score(0.0, 0.0)),
    }
    text = "\n".join(explanation_table(summarise(rows), kind="places"))
    assert "| clear | 0.600 | 0.000 | 0.600 (0.500 to 0.700) | 0.100 (0.100 to 0.100) | yes | 0.20 | |" in text
    assert "| no better | 0.600 | 0.000 | 0.600 (0.500 to 0.700) | 0.550 (0.500 to 0.600) | no | | |" in text
    assert "| random | 0.000 | 0.000 | 0.000 (0.000 to 0.000) | | | | |" in text
