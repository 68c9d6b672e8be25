import math

import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf.explain.answering import answer_without, encode_and_answer
from dfer_hf.explain.temporal import frame_effects, nearest_kept, quarter_runs, rank_correlation, runs

SYSTEMS = dfer_hf.systems()


def count_passes(model):
    """Frames that go through the first convolution, counted as they come."""
    counted = []
    first = next(part for part in model.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.Conv3d))
    hook = first.register_forward_pre_hook(lambda _part, inputs: counted.append(len(inputs[0])))
    return counted, hook


def test_an_answer_with_its_encoded_frames_is_the_models_own(model, clips):
    with torch.no_grad():
        output, encoded = encode_and_answer(model, clips)
        torch.testing.assert_close(output.logits, model(pixel_values_videos=clips).logits)
    assert (encoded is not None) == model.sees_frames_apart
    if encoded is not None:
        assert encoded.shape[:2] == clips.shape[:2]


def test_each_variant_is_answered_as_if_it_had_been_given(model, clips):
    left_out = np.zeros((3, clips.shape[1]), dtype=bool)
    left_out[0, 0] = left_out[1, -1] = left_out[2, 1] = left_out[2, 2] = True
    logits = answer_without(model, clips, left_out)
    assert logits.shape == (2, 3, len(model.config.label_names))
    for variant, row in enumerate(left_out):
        kept = np.flatnonzero(~row) if model.takes_any_length else nearest_kept(row[None])[0]
        with torch.no_grad():
            expected = model(pixel_values_videos=clips[:, kept]).logits
        np.testing.assert_allclose(logits[:, variant], expected.float().numpy(), rtol=1e-3, atol=1e-4)


def test_encoded_frames_are_not_encoded_again(model, clips):
    if not model.sees_frames_apart:
        pytest.skip("This system looks at several frames together from the start.")
    left_out = runs(clips.shape[1], 1)
    with torch.no_grad():
        encoded = model.encode_frames(clips)
    counted, hook = count_passes(model)
    from_encoded = answer_without(model, encoded, left_out)
    assert not counted
    np.testing.assert_allclose(from_encoded, answer_without(model, clips, left_out), rtol=1e-5, atol=1e-5)
    hook.remove()
    assert sum(counted) == clips.shape[0] * clips.shape[1]


def test_an_instance_that_variants_share_is_encoded_once():
    config = SYSTEMS["m3dfel"].config_class.from_preset("tiny", num_frames=8)
    model = SYSTEMS["m3dfel"](config).eval()
    left_out = np.zeros((3, config.num_frames), dtype=bool)
    left_out[0, 0] = left_out[1, -1] = left_out[2, -1] = True
    counted, hook = count_passes(model)
    clips = torch.rand(2, config.num_frames, config.num_channels, config.image_size, config.image_size)
    logits = answer_without(model, clips, left_out)
    hook.remove()
    # Those of the clip itself, one that starts otherwise and one that ends otherwise, of two clips.
    assert sum(counted) == 2 * (config.bag_size + 2)
    assert (logits[:, 1] == logits[:, 2]).all()
    assert (logits[:, 0] != logits[:, 1]).any()


def test_batches_change_nothing(model, clips, monkeypatch):
    if model.config.model_type not in {"dfer_cfc_sp", "dfer_keypoint_gcn"}:
        pytest.skip("One system of each kind is enough.")
    left_out = runs(clips.shape[1], 2)
    whole = answer_without(model, clips, left_out)
    monkeypatch.setattr("dfer_hf.explain.temporal.FRAMES_PER_BATCH", 1)
    np.testing.assert_allclose(answer_without(model, clips, left_out), whole, rtol=1e-3, atol=1e-4)


def test_a_variant_without_any_frame_is_refused():
    model_class = SYSTEMS["frame_resnet"]
    model = model_class(model_class.config_class.from_preset("tiny")).eval()
    with pytest.raises(ValueError, match="keep a frame"):
        answer_without(model, torch.zeros(1, 4, 3, 32, 32), np.ones((1, 4), dtype=bool))


def test_runs_surround_their_frame_and_stay_in_the_clip():
    assert runs(5, 1).tolist() == np.eye(5, dtype=bool).tolist()
    chosen = runs(6, 3)
    assert chosen.sum(axis=1).tolist() == [3] * 6
    assert np.flatnonzero(chosen[0]).tolist() == [0, 1, 2]
    assert np.flatnonzero(chosen[3]).tolist() == [2, 3, 4]
    assert np.flatnonzero(chosen[5]).tolist() == [3, 4, 5]
    assert runs(3, 8).sum(axis=1).tolist() == [2, 2, 2]


@pytest.mark.parametrize(("num_frames", "num_runs", "length"), [(2, 2, 1), (16, 16, 4), (100, 32, 25), (1, 0, 0)])
def test_a_quarter_of_a_clip_is_left_out_in_no_more_than_32_ways(num_frames, num_runs, length):
    chosen = quarter_runs(num_frames)
    assert chosen.shape == (num_runs, num_frames)
    assert all(abs(count - length) <= 1 for count in chosen.sum(axis=1))
    assert chosen.any(axis=0).all() == bool(num_runs)


@pytest.mark.parametrize(("num_frames", "length"), [(1, 1), (4, 0)])
def test_nothing_to_leave_out_is_refused(num_frames, length):
    with pytest.raises(ValueError, match="two frames or more"):
        runs(num_frames, length)


def test_a_frame_is_replaced_by_the_nearest_that_is_left_and_the_earlier_of_two():
    left_out = np.array([[False, True, False, False], [True, True, False, False], [False, True, True, True]])
    assert nearest_kept(left_out).tolist() == [[0, 0, 2, 3], [2, 2, 2, 3], [0, 0, 0, 0]]


def test_a_frame_has_the_mean_of_what_is_lost_without_it():
    left_out = np.array([[True, True, False, False], [False, True, True, False]])
    assert frame_effects(np.array([[2.0, -1.0]]), left_out).tolist() == [[2.0, 0.5, -1.0, 0.0]]


def test_ranks_agree_from_minus_one_to_one():
    values = np.array([0.1, 0.4, 0.2, 0.9])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    # With ties, as scipy.stats.spearmanr says.
    assert rank_correlation(np.array([1, 2, 2, 3]), np.array([1, 2, 3, 4])) == pytest.approx(0.9486833)
    assert math.isnan(rank_correlation(values, np.ones(4)))
