import numpy as np
import pytest
import torch

from .conftest import build_system

CROPS = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["aen", "nr_dfernet", "keypoint_gcn", "former_dfer", "resnet_rnn", "m3dfel"])
def test_encoding_equal_frames_once_does_not_change_answers(kind, monkeypatch):
    system = build_system(kind, kind)
    clips = CROPS[np.array([[0, 1, 0, 2] * 4, [1, 1, 2, 1] * 4])]
    quick = system.answer_stills(CROPS[:2]), system.answer_clips(clips)
    monkeypatch.setattr(type(system.model), "sees_frames_apart", False)
    plain = system.answer_stills(CROPS[:2]), system.answer_clips(clips)
    for ours, theirs in zip(quick, plain, strict=True):
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-4)
        np.testing.assert_allclose(ours.frame_weights, theirs.frame_weights, atol=1e-4)
        assert ours.decided.tolist() == theirs.decided.tolist()


def test_parts_that_see_single_frames_are_called_with_different_ones_alone():
    system, seen = build_system("aen", "aen"), []
    system.model.get_submodule("trunk").register_forward_hook(
        lambda _module, inputs, _output: seen.append(len(inputs[0]))
    )
    system.answer_stills(CROPS)
    assert seen == [3]
    assert system.model.sees_frames_apart


def test_a_still_is_answered_as_the_predictor_answers_it():
    system = build_system("aen", "aen")
    answers = system.predictor.engine.answer([np.repeat(CROPS[:1], system.model.config.num_frames, axis=0)])
    outputs = system.answer_stills(CROPS[:1])
    np.testing.assert_allclose(torch.from_numpy(outputs.logits).softmax(dim=-1).numpy(), answers.fine, atol=1e-5)
