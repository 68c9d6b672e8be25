"""CFC-SP against its paper (Xue et al., CVPRW 2022), written out again in plain loops in double precision."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from dfer_hf.models.configuration_cfc_sp import CfcSpConfig
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from dfer_hf.taxonomy import SENTIMENT_GROUPS, Emotion

from .conftest import answer, with_random_statistics

PAPER = {"id2label": CfcSpConfig().id2label, "groups": CfcSpConfig().groups}
TABLE_2 = [
    (["swin"], ["repvgg"]),
    (["iresnet"], ["repvgg"]),
    (["hrnet"], ["repvgg"]),
    (["repvgg"], ["repvgg"]),
    (["swin", "iresnet"], ["repvgg"]),
    (["swin", "iresnet"], ["swin"]),
    (["swin", "iresnet"], ["swin", "repvgg"]),
    (["swin", "hrnet"], ["repvgg"]),
    (["swin", "iresnet", "hrnet"], ["repvgg"]),
    (["swin", "iresnet", "hrnet"], ["swin", "repvgg"]),
]
TABLE_4 = [0, 32, 64, 128, 256, 512]


@pytest.fixture
def build(tiny_model):
    """A tiny cascade with the paper's eight classes and weights that make its frames differ."""

    def build_with(**fields):
        return with_random_statistics(tiny_model("cfc_sp", **PAPER | fields), spread=0.1)

    return build_with


@pytest.fixture
def clips():
    return torch.randn(2, 7, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# ------------------------------------------------------------------------------------- the paper's equations, in plain
# loops


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def equation_1(rows, window):
    """f'_i of Eq. 1 for one clip's rows of logits, over the frames that there are."""
    if window == 0:
        return rows
    smoothed = []
    for place, row in enumerate(rows):
        around = [other for index, other in enumerate(rows) if place - window // 2 <= index <= place + window // 2]
        smoothed.append([own + sum(other[k] for other in around) / len(around) for k, own in enumerate(row)])
    return smoothed


def vote(nets):
    """Mean of the nets' softmaxes for each frame."""
    return [
        [sum(values) / len(nets) for values in zip(*(softmax(net[frame]) for net in nets), strict=True)]
        for frame in range(len(nets[0]))
    ]


def paper_frames(model, clip_coarse, clip_fine):
    """Probabilities of the five coarse and eight fine classes for each frame of one clip."""
    window = model.config.smoothing_window
    coarse = vote([equation_1(net, window) for net in clip_coarse])
    negative = vote([equation_1(net, window) for net in clip_fine])
    fine = [
        [
            groups[0],  # neutral
            groups[4] * classes[0],  # anger
            groups[4] * classes[1],  # disgust
            groups[4] * classes[2],  # fear
            groups[1],  # happiness
            groups[4] * classes[3],  # sadness
            groups[2],  # surprise
            groups[3],  # other
        ]
        for groups, classes in zip(coarse, negative, strict=True)
    ]
    return coarse, fine


@torch.no_grad()
def raw_logits(model, clips):
    """The nets' own answers: two lists `[clip][net][frame][class]`."""
    return [
        [[net(clip).double().tolist() for net in nets] for clip in clips]
        for nets in (model.coarse_nets, model.fine_nets)
    ]


@pytest.mark.parametrize("window", [0, 1, 2, 5, 256])
@pytest.mark.parametrize(("coarse_nets", "fine_nets"), [TABLE_2[4], TABLE_2[-1]])
def test_answers_are_those_of_the_paper(build, clips, window, coarse_nets, fine_nets):
    model = build(coarse_nets=coarse_nets, fine_nets=fine_nets, smoothing_window=window)
    output = answer(model, clips)
    for clip, (coarse_rows, fine_rows) in enumerate(zip(*raw_logits(model, clips), strict=True)):
        coarse, fine = (torch.tensor(rows) for rows in paper_frames(model, coarse_rows, fine_rows))
        torch.testing.assert_close(output.frame_logits[clip].exp(), fine, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(output.logits[clip].exp(), fine.mean(dim=0), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(output.coarse_logits[clip].exp(), coarse.mean(dim=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("labels", [[0, 2], [5, 3], [4, 7]], ids=["one negative", "negative", "none"])
def test_losses_are_those_of_the_paper(build, clips, labels):
    model = build(coarse_nets=["swin", "iresnet"], fine_nets=["swin", "repvgg"])
    output = answer(model, clips, labels=torch.tensor(labels))
    coarse_of, negative_of = [0, 4, 4, 4, 1, 4, 2, 3], {1: 0, 2: 1, 3: 2, 5: 3}
    coarse_loss = negative_loss = 0.0
    coarse_rows, fine_rows = raw_logits(model, clips)
    for net in range(2):
        coarse = [
            -math.log(softmax(row)[coarse_of[label]])
            for clip, label in enumerate(labels)
            for row in coarse_rows[clip][net]
        ]
        negative = [
            -math.log(softmax(row)[negative_of[label]])
            for clip, label in enumerate(labels)
            if label in negative_of
            for row in fine_rows[clip][net]
        ]
        coarse_loss += sum(coarse) / len(coarse)
        negative_loss += sum(negative) / len(negative) if negative else 0.0
    assert output.loss_parts["coarse"].item() == pytest.approx(coarse_loss, rel=2e-5)
    assert output.loss_parts["fine"].item() == pytest.approx(negative_loss, rel=2e-5)
    assert output.loss.item() == pytest.approx(coarse_loss + negative_loss, rel=2e-5)
    whole = [-output.logits[clip, label].item() for clip, label in enumerate(labels)]
    assert output.loss_parts["cross_entropy"].item() == pytest.approx(sum(whole) / 2, rel=2e-5)


def test_soft_labels_weigh_the_negative_ones(build, clips):
    model = build()
    targets = torch.tensor([[0.5, 0.2, 0.0, 0.1, 0.0, 0.1, 0.1, 0.0], [0.0, 0.0, 0.7, 0.0, 0.3, 0.0, 0.0, 0.0]])
    output = answer(model, clips, labels=targets)
    by_label = torch.stack(
        [
            answer(model, clips[clip : clip + 1], labels=torch.tensor([label])).loss_parts["fine"]
            for clip in range(2)
            for label in range(8)
        ]
    ).view(2, 8)
    negative = targets[:, [1, 2, 3, 5]]
    expected = (negative * by_label[:, [1, 2, 3, 5]]).sum() / negative.sum()
    torch.testing.assert_close(output.loss_parts["fine"], expected)


def test_without_negative_clips_the_fine_nets_stand_still(build, clips):
    model = build().train()
    model(pixel_values_videos=clips, labels=torch.tensor([0, 4])).loss.backward()
    gradients = [parameter.grad for parameter in model.fine_nets.parameters()]
    assert all(gradient is None or not gradient.any() for gradient in gradients)
    assert all(parameter.grad.any() for parameter in model.coarse_nets[1].parameters())


def test_the_hard_choice_takes_the_group_first():
    model = CfcSpForVideoClassification(CfcSpConfig.from_preset("tiny", **PAPER))
    probabilities = torch.tensor(
        [
            [
                0.3,
                0.15,
                0.1,
                0.1,
                0.05,
                0.1,
                0.1,
                0.1,
                # Neutral leads, but negative holds 0.45, most of it anger.
            ],
            [0.6, 0.0, 0.0, 0.1, 0.1, 0.2, 0.0, 0.0],
            [0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.1, 0.1],
        ]
    )
    assert probabilities.argmax(dim=-1).tolist() == [0, 0, 5]
    assert model.decide(probabilities.log()).tolist() == [1, 0, 5]
    assert model.decide(probabilities.log().expand(2, -1, -1)).tolist() == [[1, 0, 5]] * 2
    model.config.coarse_first = False
    assert model.decide(probabilities.log()).tolist() == [0, 0, 5]


# ------------------------------------------------------------------------------------------------------------- the
# tables


@pytest.mark.parametrize(("coarse_nets", "fine_nets"), TABLE_2, ids=str)
def test_every_row_of_table_2_can_be_trained(build, clips, coarse_nets, fine_nets):
    model = build(coarse_nets=coarse_nets, fine_nets=fine_nets).train()
    assert (len(model.coarse_nets), len(model.fine_nets)) == (len(coarse_nets), len(fine_nets))
    model(pixel_values_videos=clips, labels=torch.tensor([0, 5])).loss.backward()
    for net in [*model.coarse_nets, *model.fine_nets]:
        gradients = [parameter.grad for parameter in net.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        # Of what a norm takes away, and of the places of attention that is all but even, they are only rounding.
        assert sum(gradient.abs().max().item() > 1e-6 for gradient in gradients) > 0.8 * len(gradients)


def test_every_row_of_table_4_is_another_answer(build):
    model, logits = build(coarse_nets=["iresnet"]), torch.randn(1, 1, 600, 5)
    smoothed = []
    for window in TABLE_4:
        model.config.smoothing_window = window
        smoothed.append(model.smooth(logits, model.config.smoothing_window))
    steps = (
        torch.stack([series.diff(dim=2).abs().mean() for series in smoothed]) / smoothed[0].diff(dim=2).abs().mean()
    )
    # A frame keeps what is its own.
    torch.testing.assert_close(steps, torch.ones(6), rtol=0.1, atol=0)
    assert all((smoothed[i] - smoothed[i + 1]).abs().max() > 0.02 for i in range(5))


def test_table_1_without_the_cascade_has_no_fine_net(build, clips):
    labels = [*PAPER["groups"]["negative"], "neutral", "happiness", "surprise", "other"]
    model = build(groups={label: [label] for label in labels})
    assert len(model.fine_nets) == 0
    output = answer(model, clips, labels=torch.tensor([1, 5]))
    assert output.loss_parts["fine"] == 0
    order = [model.config.label2id[label] for label in labels]
    torch.testing.assert_close(output.coarse_logits, output.logits[:, order])


def test_several_groups_may_be_split(build, clips):
    """The seven classes under positive, neutral and negative, which corpora without `other` are scored by."""
    groups = {str(group): [str(label) for label in members] for group, members in SENTIMENT_GROUPS.items()}
    model = build(id2label=CfcSpConfig.from_preset("tiny").id2label, groups=groups)
    output = answer(model, clips)
    summed = model.sum_groups(output.logits.exp())
    torch.testing.assert_close(summed, output.coarse_logits.exp())
    torch.testing.assert_close(output.logits.exp().sum(dim=-1), torch.ones(2))


def test_labels_are_spelt_as_in_the_taxonomy():
    config = CfcSpConfig()
    assert set(config.label_names) <= {str(emotion) for emotion in Emotion}
    assert config.group_names == ["neutral", "happiness", "surprise", "other", "negative"]


# --------------------------------------------------------------------------------------------------------- frames and
# time


@pytest.mark.parametrize("window", [0, 2, 3, 6, 256])
@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_frame_weights_are_shares_in_the_smoothed_logits(build, window, num_frames):
    weights = build().frame_weights(num_frames, window)
    shares = torch.tensor(equation_1(torch.eye(num_frames).tolist(), window)).mean(dim=0)
    torch.testing.assert_close(weights, shares / shares.sum())
    if window == 2 and num_frames == 7:
        # Cut windows count a neighbour for more.
        assert weights[0] < weights[3] < weights[1]


@pytest.mark.parametrize(("window", "matters"), [(0, False), (256, False), (2, True)])
def test_the_order_of_the_frames_matters_to_windows_shorter_than_the_clip(build, clips, window, matters):
    model, order = build(smoothing_window=window), [3, 0, 6, 1, 5, 2, 4]
    straight, shuffled = answer(model, clips), answer(model, clips[:, order])
    assert bool((straight.logits - shuffled.logits).abs().max() > 1e-4) is matters
    if not matters:
        torch.testing.assert_close(straight.frame_logits[:, order], shuffled.frame_logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_frames", [1, 3, 10])
def test_frames_go_through_the_nets_a_few_at_a_time(build, clips, num_frames):
    model = build(smoothing_window=2)
    clips = clips[:, torch.arange(num_frames) % 7]
    whole = answer(model, clips)
    model.config.frames_per_pass = 3
    seen = []
    for net in [*model.coarse_nets, *model.fine_nets]:
        net.trunk.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(inputs[0].shape)))
    parts = answer(model, clips)
    assert max(shape[0] for shape in seen) <= 3
    # Swin sees more pixels than the others.
    assert {shape[-1] for shape in seen} == {32, 48}
    for field in ("logits", "coarse_logits", "frame_logits"):
        torch.testing.assert_close(whole[field], parts[field], rtol=1e-4, atol=1e-5)


def test_deployed_nets_answer_as_before_and_are_kept(build, clips, tmp_path):
    model = build(coarse_nets=["repvgg", "iresnet"])
    before, many = answer(model, clips), model.num_parameters()
    model.fuse()
    assert model.num_parameters() < many
    model.save_pretrained(tmp_path)
    for deployed in (model, CfcSpForVideoClassification.from_pretrained(tmp_path)):
        after = answer(deployed, clips)
        for field in ("logits", "coarse_logits", "frame_logits"):
            torch.testing.assert_close(before[field], after[field], rtol=1e-4, atol=1e-5)


def test_norms_see_all_frames_together_in_training(build, clips):
    model = build(frames_per_pass=1).train()
    norm = next(module for module in model.coarse_nets[1].modules() if isinstance(module, nn.BatchNorm2d))
    norm.num_batches_tracked.zero_()
    answer(model, clips)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coarse_nets": []}, "`coarse_nets` must be some of"),
        ({"fine_nets": ["vgg"]}, "`fine_nets` must be some of"),
        ({"net_image_sizes": {"swin": 224}}, "`net_image_sizes` must give iresnet a multiple of 16"),
        ({"smoothing_window": -1}, "`smoothing_window` must be at least 0"),
        ({"frames_per_pass": 0}, "`frames_per_pass` must be at least 1"),
        ({"swin_heads": [1, 2]}, "`swin_heads` must have 4 entries"),
        ({"hrnet_modules": [1]}, "`hrnet_modules` must have 3 entries"),
    ],
    ids=str,
)
def test_settings_no_net_can_have_are_refused(tiny_config, fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        tiny_config("cfc_sp", **fields)
