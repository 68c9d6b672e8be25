"""What holds of every system. A new one is found by itself and needs no more than its `tiny` preset."""

import inspect
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoModelForVideoClassification

import dfer_hf
from dfer_hf.hub.export import export_checkpoint

from .conftest import SYSTEMS, answer, with_random_statistics

FIELDS = ("logits", "coarse_logits", "frame_logits", "frame_weights")
# Sorted by name these groups stand in another order, as they do in a JSON file.
MOODS = {
    "id2label": {0: "glad", 1: "calm", 2: "cross", 3: "sad"},
    "groups": {"up": ["glad"], "level": ["calm"], "down": ["cross", "sad"]},
}


def assert_same_answers(first, second, **tolerance):
    for field in FIELDS:
        torch.testing.assert_close(first[field], second[field], msg=lambda text, f=field: f"{f}: {text}", **tolerance)


# ---------------------------------------------------------------------------------------------------- what it answers


def test_every_system_has_a_tiny_configuration_below_a_million_parameters(model):
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    assert model.config.model_type.startswith("dfer_")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_answers_have_the_shapes_and_sums_of_the_contract(model, random_clips, count, training):
    config = model.config
    labels = torch.arange(count) % config.num_labels
    output = model.train(training)(pixel_values_videos=random_clips(config, count), labels=labels)
    assert output.logits.shape == (count, config.num_labels)
    assert output.coarse_logits.shape == (count, len(config.groups))
    # Training with labels may leave out what no loss needs.
    if not training or output.frame_logits is not None:
        assert output.frame_logits.shape == (count, config.num_frames, config.num_labels)
    assert output.frame_weights.shape == (count, config.num_frames)
    torch.testing.assert_close(output.logits.softmax(dim=-1).sum(dim=-1), torch.ones(count))
    torch.testing.assert_close(output.coarse_logits.exp().sum(dim=-1), torch.ones(count))
    torch.testing.assert_close(output.frame_weights.sum(dim=-1), torch.ones(count))
    assert (output.frame_weights >= 0).all()
    assert output.loss.shape == ()
    assert torch.isfinite(output.loss)
    assert output.loss_parts
    assert all(part.shape == () and torch.isfinite(part) for part in output.loss_parts.values())


def test_without_labels_there_is_no_loss(model, clips):
    output = answer(model, clips)
    assert output.loss is None
    assert output.loss_parts is None


def test_labels_as_indices_equal_labels_as_probabilities(model, clips):
    labels = torch.tensor([1, model.config.num_labels - 1])
    by_index = answer(model, clips, labels=labels)
    by_probability = answer(model, clips, labels=nn.functional.one_hot(labels, model.config.num_labels).float())
    torch.testing.assert_close(by_index.loss, by_probability.loss, rtol=0, atol=0)


def test_the_right_label_costs_less_than_a_wrong_one(model, clips):
    with_random_statistics(model)
    logits = answer(model, clips).logits
    right = answer(model, clips, labels=logits.argmax(dim=-1)).loss_parts["cross_entropy"]
    wrong = answer(model, clips, labels=logits.argmin(dim=-1)).loss_parts["cross_entropy"]
    assert right < wrong


def test_a_tuple_holds_what_the_dataclass_holds(model, clips):
    labels = torch.tensor([0, 1])
    by_name = answer(model, clips, labels=labels)
    by_place = answer(model, clips, labels=labels, return_dict=False)
    assert isinstance(by_place, tuple)
    assert len(by_place) == len(by_name.to_tuple())
    for left, right in zip(by_place, by_name.to_tuple(), strict=True):
        if isinstance(left, torch.Tensor):
            torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_the_same_clip_gets_the_same_answer_twice(model, clips):
    assert_same_answers(answer(model, clips), answer(model, clips), rtol=0, atol=0)


def test_batching_does_not_change_the_result(model, random_clips):
    with_random_statistics(model)
    clips = random_clips(model.config, 3)
    together = answer(model, clips)
    for index in range(3):
        alone = answer(model, clips[index : index + 1])
        assert_same_answers(
            {field: together[field][index : index + 1] for field in FIELDS}, alone, rtol=1e-4, atol=1e-5
        )


def test_another_clip_in_the_batch_does_not_change_what_is_said_of_a_frame(model, random_clips):
    first, other = random_clips(model.config, 2), random_clips(model.config, 2, seed=5)
    other[0] = first[0]
    before, after = answer(model, first), answer(model, other)
    torch.testing.assert_close(before.frame_logits[0], after.frame_logits[0], rtol=1e-5, atol=1e-6)
    assert not torch.equal(before.frame_logits[1], after.frame_logits[1])


def test_frame_logits_depend_on_their_frame(model, random_clips):
    clips = random_clips(model.config, 8)
    changed = clips.clone()
    changed[:, 1] = random_clips(model.config, 8, seed=9)[:, 1]
    moved = (answer(model, clips).frame_logits - answer(model, changed).frame_logits).abs().mean(dim=(0, 2))
    assert moved.argmax() == 1
    assert moved[1] > 0


@pytest.mark.parametrize("coarse_first", [False, True])
def test_one_rule_decides_for_clips_and_frames(system, tiny_model, random_clips, coarse_first):
    model = with_random_statistics(tiny_model(system, **MOODS, coarse_first=coarse_first), spread=0.3)
    assert model.config.group_of_label == [0, 1, 2, 2]
    output = answer(model, random_clips(model.config))
    for logits in (output.logits, output.frame_logits):
        decided, best = model.decide(logits), logits.argmax(dim=-1)
        assert decided.shape == logits.shape[:-1]
        if coarse_first:
            probabilities = logits.softmax(dim=-1)
            down = probabilities[..., 2:].sum(dim=-1) > probabilities[..., :2].amax(dim=-1)
            assert torch.equal(decided >= 2, down)
            assert torch.equal(decided[down], 2 + logits[..., 2:].argmax(dim=-1)[down])
            best[down] = decided[down]
        assert torch.equal(decided, best)


# ------------------------------------------------------------------------------------------------ weights and their
# keeping


@pytest.mark.parametrize("fields", [{}, MOODS], ids=["seven", "moods"])
def test_saving_and_loading_changes_nothing(system, tiny_model, random_clips, tmp_path, fields):
    model = with_random_statistics(tiny_model(system, **fields))
    clips = random_clips(model.config)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert not loaded.training
    assert loaded.config.group_names == list(loaded.config.groups) == list(model.config.groups)
    assert loaded.config.id2label == model.config.id2label
    assert loaded.config.label2id == model.config.label2id
    before = dict(model.named_parameters()) | dict(model.named_buffers())
    after = dict(loaded.named_parameters()) | dict(loaded.named_buffers())
    assert set(before) == set(after)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
        assert tensor.requires_grad == after[name].requires_grad, name
    # The weights are the same to the bit; where they lie in memory may change the last bit of a sum.
    assert_same_answers(answer(model, clips), answer(loaded, clips), rtol=1e-5, atol=1e-6)


def test_first_weights_set_every_tensor(system, config):
    """Built without memory and filled with marks, nothing may be left unset."""
    with torch.device("meta"):
        model = SYSTEMS[system](config)
    model.to_empty(device="cpu")
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for tensor in tensors.values():
            tensor.fill_(math.nan if tensor.is_floating_point() else -1)
    for part in [*model.modules(), *tensors.values()]:
        part.__dict__.pop("_is_hf_initialized", None)
    model.init_weights()
    unset = [
        name
        for name, tensor in tensors.items()
        if (torch.isnan(tensor).any() if tensor.is_floating_point() else (tensor == -1).any())
    ]
    assert not unset


def test_weights_missing_from_a_checkpoint_are_drawn_anew(system, config, tiny_model):
    """Not memory as it was found, and not transformers' N(0, 0.02) where a convolution needs more."""
    fresh = tiny_model(system)
    loaded = SYSTEMS[system].from_pretrained(None, config=config, state_dict={})
    before = dict(fresh.named_parameters()) | dict(fresh.named_buffers())
    after = dict(loaded.named_parameters()) | dict(loaded.named_buffers())
    for name, tensor in after.items():
        assert torch.isfinite(tensor).all(), name
        is_drawn = tensor.is_floating_point() and (tensor.numel() == 1 or before[name].std() > 0)
        if not is_drawn:
            assert torch.equal(tensor, before[name]), name
        elif tensor.numel() >= 100:
            assert 0.7 < tensor.std() / before[name].std() < 1.4, name
            assert abs(tensor.mean() - before[name].mean()) < 0.5 * before[name].std(), name


def test_every_tensor_is_a_parameter_or_a_buffer(model):
    def tensors_of(value):
        if isinstance(value, torch.Tensor):
            return [value]
        if isinstance(value, dict):
            return [tensor for entry in value.values() for tensor in tensors_of(entry)]
        if isinstance(value, list | tuple):
            return [tensor for entry in value for tensor in tensors_of(entry)]
        return []

    plain = [
        f"{name}.{attribute}"
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if attribute not in ("_parameters", "_buffers", "_modules") and tensors_of(value)
    ]
    assert not plain


def test_every_buffer_is_saved(model):
    assert {name for name, _ in model.named_buffers()} <= set(model.state_dict())


def test_an_exported_checkpoint_loads_as_single_precision(model, clips, tmp_path):
    with_random_statistics(model)
    processor = dfer_hf.DferVideoProcessor(size={"height": model.config.image_size, "width": model.config.image_size})
    export_checkpoint(model, processor, tmp_path / "checkpoint")
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "config.json",
        "model.safetensors",
        "video_preprocessor_config.json",
    ]
    stored = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}
    for auto_class in (AutoModelForVideoClassification, AutoModel):
        loaded = auto_class.from_pretrained(tmp_path / "checkpoint")
        assert type(loaded) is type(model)
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
        for field in FIELDS:
            torch.testing.assert_close(answer(loaded, clips)[field], answer(model, clips)[field], rtol=0.02, atol=0.02)


# ---------------------------------------------------------------------------------------------------------------
# learning


def test_every_trainable_parameter_gets_a_gradient(model, clips):
    with_random_statistics(model).train()
    model(pixel_values_videos=clips, labels=torch.tensor([0, 3])).loss.backward()
    parameters = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert parameters
    without = [name for name, parameter in parameters if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert not without
    assert all(torch.isfinite(parameter.grad).all() for _, parameter in parameters)


def test_gradient_checkpointing_changes_nothing(system, tiny_model, clips):
    plain = tiny_model(system).train()
    if not plain.supports_gradient_checkpointing:
        with pytest.raises(ValueError, match=r"does not support .*checkpointing"):
            plain.gradient_checkpointing_enable()
        return
    saving = tiny_model(system).train()
    saving.gradient_checkpointing_enable()
    losses = []
    for model in (plain, saving):
        torch.manual_seed(3)
        losses.append(model(pixel_values_videos=clips, labels=torch.tensor([0, 3])).loss)
        losses[-1].backward()
    assert any(getattr(module, "gradient_checkpointing", False) for module in saving.modules())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-6)
    for (name, left), (_, right) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        if left.requires_grad:
            torch.testing.assert_close(left.grad, right.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_two_clips_can_be_learnt_by_heart(system, tiny_model, clips):
    model = tiny_model(system).train()
    labels = torch.tensor([1, 4])
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.005, weight_decay=0.0)
    for _ in range(50):
        output = model(pixel_values_videos=clips)
        # Further terms may pull elsewhere.
        loss = nn.functional.cross_entropy(output.logits, labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert loss < 0.02
    assert output.logits.argmax(dim=-1).tolist() == labels.tolist()


def test_training_changes_the_statistics_and_evaluation_does_not(model, clips):
    def statistics():
        return {name: buffer.clone() for name, buffer in model.named_buffers()}

    first = statistics()
    answer(model.eval(), clips)
    assert all(torch.equal(first[name], buffer) for name, buffer in statistics().items())
    answer(model.train(), clips)
    if first:
        assert not all(torch.equal(first[name], buffer) for name, buffer in statistics().items())


# -------------------------------------------------------------------------------------------------- precision and
# attention


def test_half_precision_autocast_is_close_and_its_sums_are_whole(model, clips):
    labels = torch.tensor([0, 3])
    exact = answer(model, clips, labels=labels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = answer(model, clips, labels=labels)
    assert torch.isfinite(rough.loss)
    torch.testing.assert_close(rough.loss.float(), exact.loss, rtol=0.03, atol=0.03)
    torch.testing.assert_close(rough.logits.float().softmax(dim=-1), exact.logits.softmax(dim=-1), rtol=0, atol=0.02)
    for probabilities in (rough.logits.softmax(dim=-1), rough.coarse_logits.exp(), rough.frame_weights):
        torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(2), rtol=0, atol=1e-5)


def test_eager_and_sdpa_attention_agree(system, tiny_model, clips):
    model = with_random_statistics(tiny_model(system))
    if not model._supports_sdpa:
        pytest.skip("has no attention to choose")
    answers = {}
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        assert model.config._attn_implementation == implementation
        answers[implementation] = answer(model, clips)
    assert_same_answers(answers["eager"], answers["sdpa"], rtol=1e-4, atol=1e-5)


def test_attentions_and_hidden_states_can_be_asked_for(model, clips):
    if not getattr(model, "_can_record_outputs", None):
        pytest.skip("records nothing")
    if model._supports_sdpa:
        model.set_attn_implementation("eager")
    output = answer(model, clips, output_attentions=True, output_hidden_states=True)
    assert output.attentions
    assert output.hidden_states
    for weights in output.attentions:
        assert weights.shape[0] == len(clips)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    assert all(states.shape[0] == len(clips) for states in output.hidden_states)
    plain = answer(model, clips)
    assert plain.attentions is None
    assert plain.hidden_states is None
    assert_same_answers(plain, output, rtol=0, atol=0)


# -------------------------------------------------------------------------------------------------- names and inputs


@pytest.mark.parametrize("group_names", [None, ["down", "up", "level"]])
def test_other_labels_and_groups_keep_their_order(system, tiny_model, random_clips, group_names):
    model = tiny_model(system, **MOODS, group_names=group_names)
    names = group_names or list(MOODS["groups"])
    assert model.config.group_names == list(model.config.groups) == names
    assert model.config.label2id == {"glad": 0, "calm": 1, "cross": 2, "sad": 3}
    assert model.group_matrix().tolist() == [
        [float(label in MOODS["groups"][name]) for label in MOODS["id2label"].values()] for name in names
    ]
    output = answer(model, random_clips(model.config))
    assert output.logits.shape == (2, 4)
    assert output.coarse_logits.shape == (2, 3)


def test_the_evidence_layer_exists_and_sees_every_frame(model, clips):
    seen = []
    layer = model.get_submodule(model.evidence_layer)
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    answer(model, clips)
    assert seen[0].ndim == 4
    assert seen[0].shape[0] == clips.shape[0] * clips.shape[1]


def test_forward_names_its_inputs(system):
    parameters = inspect.signature(SYSTEMS[system].forward).parameters
    assert list(parameters)[:3] == ["self", "pixel_values_videos", "labels"]
