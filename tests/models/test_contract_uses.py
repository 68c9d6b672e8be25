"""What people do with every system: fine-tune it, train it with `Trainer`, halve and export it, feed it long videos.

A new system is found by itself.
"""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForVideoClassification, Trainer, TrainingArguments

from dfer_hf.models.configuration_cfc_sp import EIGHT_LABELS, CfcSpConfig
from dfer_hf.models.configuration_dfer import SEVEN_LABELS

from .conftest import SYSTEMS, answer, with_random_statistics

FIELDS = ("logits", "coarse_logits", "frame_logits", "frame_weights")
PIXELS = "pixel_values_videos"


# ------------------------------------------------------------------------------------------------------- other classes


@pytest.mark.parametrize(
    ("fields", "groups"),
    [
        ({"num_labels": 2}, {"LABEL_0": ["LABEL_0"], "LABEL_1": ["LABEL_1"]}),
        ({"id2label": {0: "bored", 1: "keen"}}, {"bored": ["bored"], "keen": ["keen"]}),
        (
            {"num_labels": 3, "label2id": {"fear": "0", "bored": "1", "anger": "2"}}
            | {"id2label": {"0": "fear", "1": "bored", "2": "anger"}},
            {"negative": ["fear", "anger"], "bored": ["bored"]},
        ),
        ({"id2label": {0: "negative", 1: "neutral"}}, {"neutral": ["neutral"], "negative": ["negative"]}),
    ],
    ids=["number", "names", "both as scripts give them", "names of groups"],
)
def test_other_classes_are_one_argument(system, config, tiny_model, random_clips, tmp_path, fields, groups):
    """As a field, and when a checkpoint is loaded with the classes of everyone's fine-tuning script."""
    before = with_random_statistics(tiny_model(system))
    before.save_pretrained(tmp_path)
    loaded = AutoModelForVideoClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True, **fields)
    made = type(config).from_preset("tiny", **fields)
    names = list(made.id2label.values())
    for relabelled in (loaded.config, made):
        assert relabelled.groups == groups
        assert list(relabelled.groups) == relabelled.group_names
        assert relabelled.num_labels == len(names)
        assert relabelled.id2label == dict(enumerate(names))
        assert relabelled.label2id == {name: index for index, name in enumerate(names)}
    output = answer(loaded, random_clips(config), labels=torch.tensor([0, 1]))
    assert output.logits.shape == (2, len(names))
    assert output.coarse_logits.shape == (2, len(groups))
    assert torch.isfinite(output.loss)
    kept = dict(loaded.named_parameters())
    trunk = {name: tensor for name, tensor in before.named_parameters() if "trunk" in name and name in kept}
    assert trunk
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trunk.items())
    loaded.save_pretrained(tmp_path / "again")
    again = AutoModelForVideoClassification.from_pretrained(tmp_path / "again").config
    assert (again.groups, again.id2label, again.label2id) == (groups, loaded.config.id2label, loaded.config.label2id)


def test_classes_keep_the_groups_a_checkpoint_gives_them(system, tiny_model, tmp_path):
    moods = {"id2label": {0: "glad", 1: "calm", 2: "cross"}, "groups": {"down": ["cross"], "up": ["glad", "calm"]}}
    tiny_model(system, **moods).save_pretrained(tmp_path)
    others = {0: "calm", 1: "cross", 2: "surprise"}
    config = type(tiny_model(system).config).from_pretrained(tmp_path, id2label=others)
    surprise = "surprise" if system == "cfc_sp" else "positive"
    assert config.groups == {"down": ["cross"], "up": ["calm"], surprise: ["surprise"]}
    given = {"all": list(others.values())}
    for fields in ({"id2label": others, "groups": given}, {"groups": given, "id2label": others}):
        config = type(config).from_pretrained(tmp_path, **fields)
        assert (config.groups, config.group_names) == (given, ["all"])


@pytest.mark.parametrize(
    ("fields", "calibrated"),
    [
        ({}, (2.5, 0.2)),
        ({"id2label": dict(enumerate(reversed(SEVEN_LABELS)))}, (2.5, 0.2)),
        ({"num_labels": 3}, (1.0, None)),
        ({"id2label": {0: "amused", 1: "happiness"}}, (1.0, None)),
    ],
)
def test_of_other_classes_nothing_is_calibrated(tiny_model, tmp_path, fields, calibrated):
    model = tiny_model("frame_resnet", temperature=2.5, set_threshold=0.2)
    model.save_pretrained(tmp_path)
    config = type(model.config).from_pretrained(tmp_path, **fields)
    assert (config.temperature, config.set_threshold) == calibrated
    for given in ({"temperature": 1.7} | fields, fields | {"temperature": 1.7}):
        assert type(model.config).from_pretrained(tmp_path, **given).temperature == 1.7


def test_a_cascade_groups_other_classes_as_its_paper_does():
    for labels in (EIGHT_LABELS, EIGHT_LABELS[:-1], (*EIGHT_LABELS, "contempt")):
        groups = CfcSpConfig(id2label=dict(enumerate(labels))).groups
        negative = [label for label in labels if label not in ("neutral", "happiness", "surprise", "other")]
        assert groups.pop("negative") == negative
        assert groups == {label: [label] for label in groups}


@pytest.mark.parametrize(
    "labels", [{0: "glad", 2: "sad"}, {0: "glad", 1: "glad"}, {0: "glad"}, {1: "glad", 2: "sad"}], ids=str
)
def test_classes_that_are_not_numbered_through_are_refused(system, tiny_model, tmp_path, labels):
    model = tiny_model(system)
    model.save_pretrained(tmp_path)
    message = "`id2label` must name two or more classes from 0 on, each once|`num_labels > 1`"
    with pytest.raises((StrictDataclassError, ValueError), match=message):
        type(model.config)(id2label=labels)
    with pytest.raises(StrictDataclassError, match=message):
        type(model).from_pretrained(tmp_path, id2label=labels, ignore_mismatched_sizes=True)


# ------------------------------------------------------------------------------------------------ transformers' own
# tools


def test_the_trainer_hands_logits_to_compute_metrics(model, random_clips, tmp_path):
    clips = random_clips(model.config, 3)
    data = [{PIXELS: clip, "labels": index} for index, clip in enumerate(clips)]
    shapes = []

    def accuracy(predicted):
        shapes.append(predicted.predictions.shape)
        return {"accuracy": float(np.mean(predicted.predictions.argmax(axis=-1) == predicted.label_ids))}

    arguments = TrainingArguments(
        str(tmp_path), per_device_eval_batch_size=2, remove_unused_columns=False, use_cpu=True, report_to="none"
    )
    trainer = Trainer(model, arguments, eval_dataset=data, compute_metrics=accuracy)
    metrics = trainer.evaluate()
    expected = answer(model, clips, labels=torch.arange(3))
    assert shapes == [(3, model.config.num_labels)]
    assert metrics["eval_accuracy"] == (expected.logits.argmax(dim=-1) == torch.arange(3)).float().mean()
    # Else it would add up the losses of accumulated batches.
    assert not trainer.model_accepts_loss_kwargs


def test_there_are_no_input_embeddings(model):
    assert model.get_input_embeddings() is None


@pytest.mark.parametrize("asked", ["output_hidden_states", "output_attentions"])
def test_what_cannot_be_recorded_is_refused(model, clips, asked):
    if getattr(model, "_can_record_outputs", None):
        model.set_attn_implementation("eager")
        assert answer(model, clips, **{asked: True})[asked.removeprefix("output_")]
        return
    with pytest.raises(ValueError, match=f"Expected no `{asked}`.*Read `frame_logits`") as error:
        answer(model, clips, **{asked: True})
    assert model.evidence_layer in str(error.value)


def test_a_configuration_that_was_spoilt_later_builds_no_model(system, config):
    config.set_threshold = 2.0
    with pytest.raises(StrictDataclassError, match="`set_threshold` must be from 0 to 1"):
        SYSTEMS[system](config)


# ---------------------------------------------------------------------------------------------------- half, and
# exported


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(model, clips, dtype, device):
    labels = torch.tensor([0, 3])
    exact = answer(model, clips, labels=labels)
    rough = answer(model.to(device, dtype), clips.to(device, dtype), labels=labels.to(device))
    for field in FIELDS:
        assert torch.isfinite(rough[field]).all(), field
    for field in ("logits", "frame_logits"):
        probabilities = rough[field].float().softmax(dim=-1).cpu()
        torch.testing.assert_close(probabilities, exact[field].softmax(dim=-1), rtol=0, atol=0.02)
    for sums in (rough.coarse_logits.exp().sum(dim=-1), rough.frame_weights.sum(dim=-1)):
        torch.testing.assert_close(sums.cpu(), torch.ones(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(rough.loss.cpu().float(), exact.loss, rtol=0.03, atol=0.03)


@pytest.mark.slow
def test_an_exported_program_takes_any_batch(model, random_clips):
    clips = random_clips(model.config, 5)
    with torch.no_grad():
        program = torch.export.export(
            model, (), {PIXELS: clips[:2]}, dynamic_shapes={PIXELS: {0: torch.export.Dim("batch")}}, strict=False
        )
        exported, expected = program.module()(**{PIXELS: clips}), answer(model, clips)
    for field in FIELDS:
        torch.testing.assert_close(exported[field], expected[field], rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ long
# videos


def test_a_long_video_is_answered_in_parts_as_if_it_were_whole(model, random_clips):
    with_random_statistics(model)
    if not model.sees_frames_apart:
        with pytest.raises(ValueError, match="Expected a system that sees its frames apart"):
            model.encode_frames(random_clips(model.config, 1))
        with pytest.raises(ValueError, match="Expected a system that sees its frames apart"):
            model.answer_encoded(torch.zeros(1, 4, 8))
        return
    num_clips = 3 if model.takes_any_length else 1
    video = random_clips(model.config, num_clips).flatten(0, 1)[None]  # (1, frames of the clips, ...)
    whole = answer(model, video)
    with torch.no_grad():
        encoded = torch.cat([model.encode_frames(part) for part in video.split(3, dim=1)], dim=1)
        parts = model.answer_encoded(encoded)
    assert encoded.shape[:2] == video.shape[:2]
    for field in FIELDS:
        torch.testing.assert_close(parts[field], whole[field], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rate", "window"), [(30.0, 4), (15.0, 2), (60.0, 8), (5.0, 1)])
def test_a_cascade_smooths_over_seconds(tiny_model, rate, window):
    model = with_random_statistics(tiny_model("cfc_sp", smoothing_window=4), spread=0.1)
    frames = torch.randn(1, 12, 3, 32, 32)
    with torch.no_grad():
        encoded = model.encode_frames(frames)
        by_seconds = model.answer_encoded(encoded, frames_per_second=rate)
        model.config.smoothing_window = window
        by_frames = model.answer_encoded(encoded)
    for field in FIELDS:
        torch.testing.assert_close(by_seconds[field], by_frames[field], rtol=0, atol=0)


def test_a_margin_of_an_earlier_version_is_passed_over(config):
    values = config.to_dict() | {"unsure_margin": 0.25}
    assert type(config)(**values).to_dict() == config.to_dict()
