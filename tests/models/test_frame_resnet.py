import pytest
import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel

from .conftest import answer, with_random_statistics


@pytest.fixture
def model(tiny_model):
    return with_random_statistics(tiny_model("frame_resnet"), spread=0.1)


@pytest.fixture
def clips(model, random_clips):
    return random_clips(model.config)


def test_a_clips_probabilities_are_the_mean_of_its_frames(model, clips):
    output = answer(model, clips)
    expected = torch.zeros(2, 7)
    for clip in range(2):
        for frame in range(clips.shape[1]):
            alone = answer(model, clips[clip : clip + 1, frame : frame + 1])
            torch.testing.assert_close(
                alone.frame_logits[0, 0], output.frame_logits[clip, frame], rtol=1e-4, atol=1e-5
            )
            expected[clip] += alone.logits[0].softmax(dim=-1) / clips.shape[1]
    torch.testing.assert_close(output.logits.softmax(dim=-1), expected)
    torch.testing.assert_close(output.logits.exp(), expected)


def test_groups_are_sums_of_their_classes(model, clips):
    output = answer(model, clips)
    probabilities = output.logits.softmax(dim=-1)
    index = model.config.label2id
    for place, members in enumerate(model.config.groups.values()):
        total = sum(probabilities[:, index[label]] for label in members)
        torch.testing.assert_close(output.coarse_logits[:, place].exp(), total)


def test_the_order_of_the_frames_does_not_matter(model, clips):
    forwards, shuffled = answer(model, clips), answer(model, clips[:, [2, 0, 3, 1]])
    torch.testing.assert_close(forwards.logits, shuffled.logits)
    torch.testing.assert_close(forwards.frame_logits[:, [2, 0, 3, 1]], shuffled.frame_logits)


def test_frames_count_alike(model, clips):
    assert torch.equal(answer(model, clips).frame_weights, torch.full((2, 4), 0.25))


@pytest.mark.parametrize("num_frames", [1, 3, 9])
def test_clips_may_have_any_length(model, clips, num_frames):
    output = answer(model, clips[:, :1].expand(-1, num_frames, -1, -1, -1), labels=torch.tensor([0, 1]))
    assert output.frame_logits.shape == (2, num_frames, 7)
    alone = answer(model, clips[:, :1], labels=torch.tensor([0, 1]))
    torch.testing.assert_close(output.logits, alone.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.loss, alone.loss, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_cross_entropy_of_the_frames(model, clips):
    labels = torch.tensor([3, 5])
    output = answer(model, clips, labels=labels)
    every_frame = nn.functional.cross_entropy(output.frame_logits.flatten(0, 1), labels.repeat_interleave(4))
    torch.testing.assert_close(output.loss, every_frame)


def test_the_trunk_is_transformers_own_resnet(model, clips):
    """Layer by layer, on one frame; transformers' ResNet-18 is in turn torchvision's."""
    config = model.config
    reference = ResNetModel(
        ResNetConfig(
            embedding_size=config.hidden_sizes[0],
            hidden_sizes=config.hidden_sizes,
            depths=config.depths,
            layer_type="basic",
            hidden_act="relu",
            downsample_in_first_stage=False,
        )
    ).eval()
    reference.load_state_dict(model.trunk.state_dict())
    seen = []
    for layer in (model.trunk.embedder, *model.trunk.encoder.stages):
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    frame = clips[:1, :1]
    output = answer(model, frame)
    with torch.no_grad():
        expected = reference(frame[:, 0], output_hidden_states=True)
    assert len(seen) == len(expected.hidden_states) == 5
    for left, right in zip(seen, expected.hidden_states, strict=True):
        torch.testing.assert_close(left, right)
    features = expected.pooler_output.flatten(1)
    torch.testing.assert_close(output.frame_logits[0], model.classifier(features).detach())


def test_dropout_acts_in_training_only(tiny_model, clips):
    model = tiny_model("frame_resnet", classifier_dropout=0.5)
    assert torch.equal(answer(model, clips).logits, answer(model, clips).logits)
    model.train()
    assert not torch.equal(answer(model, clips).logits, answer(model, clips).logits)


def test_blendshapes_are_a_second_target_and_unknown_ones_do_not_count(tiny_model, clips):
    model = tiny_model("frame_resnet", blendshape_names=["jawOpen", "mouthSmileLeft"], blendshape_weight=3.0)
    labels = torch.zeros(len(clips), dtype=torch.long)
    alone = model(clips, labels=labels)
    target = torch.full((len(clips), 2), 0.25)
    target[0, 1] = torch.nan
    both = model(clips, labels=labels, blendshapes=target)
    logits = model.blendshape_head(model.pool_frames(clips)).double()
    each = -(0.25 * logits.sigmoid().log() + 0.75 * (-logits).sigmoid().log()).mean(dim=1)
    expected = each[~target.isnan()].mean()
    torch.testing.assert_close(both.loss.double(), alone.loss.double() + 3 * expected)
    torch.testing.assert_close(both.loss_parts["blendshapes"].double(), expected.detach())
    torch.testing.assert_close(both.logits, alone.logits)


def test_without_names_there_is_no_head_of_blendshapes(tiny_model):
    assert not [name for name in tiny_model("frame_resnet").state_dict() if "blendshape" in name]


def test_the_papers_size():
    from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
    from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification

    with torch.device("meta"):
        model = FrameResNetForVideoClassification(FrameResNetConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(11.18e6, rel=0.001)
