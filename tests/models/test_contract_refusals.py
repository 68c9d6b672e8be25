"""What every system refuses, by name: inputs, labels and configurations. A new system is found by itself."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from .conftest import answer


@pytest.mark.parametrize("change", ["larger", "oblong", "grey", "no batch", "no clips"])
def test_clips_of_another_shape_are_refused(model, clips, change):
    size = model.config.image_size
    wrong = {
        "larger": torch.zeros(*clips.shape[:3], size + 8, size + 8),
        "oblong": clips[..., : size - 8],
        "grey": clips[:, :, :1],
        "no batch": clips[0],
        "no clips": clips[:0],
    }[change]
    with pytest.raises(ValueError, match="Expected `pixel_values_videos` of shape") as error:
        model(pixel_values_videos=wrong)
    assert str(tuple(wrong.shape)) in str(error.value)


@pytest.mark.parametrize("difference", [-1, 1])
def test_another_number_of_frames_is_refused_or_answered_frame_by_frame(model, clips, difference):
    num_frames = model.config.num_frames + difference
    wrong = torch.zeros(2, num_frames, *clips.shape[2:])
    try:
        output = answer(model, wrong)
    except ValueError as error:
        assert f"(batch, {model.config.num_frames}, " in str(error)  # noqa: PT017
        assert f"got (2, {num_frames}, " in str(error)  # noqa: PT017
    else:
        assert output.frame_logits.shape[1] == output.frame_weights.shape[1] == num_frames


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_pixels_that_are_no_numbers_are_refused(model, clips, value):
    clips[1, 0, 0, 3, 3] = value
    with pytest.raises(ValueError, match="Expected finite `pixel_values_videos`, got NaN or infinity"):
        model(pixel_values_videos=clips)


@pytest.mark.parametrize("label", [-1, 7, -100])
def test_a_label_that_stands_for_no_class_is_refused(model, clips, label):
    with pytest.raises(ValueError, match=f"Expected label indices from 0 to 6, got .*{label}"):
        model(pixel_values_videos=clips, labels=torch.tensor([label, label]))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (2, 7)])
def test_label_indices_of_another_shape_are_refused(model, clips, shape):
    with pytest.raises(ValueError, match=r"Expected one label index per clip, shape \(2,\), got"):
        model(pixel_values_videos=clips, labels=torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("shape", [(2,), (2, 6), (1, 7), (2, 7, 1)])
def test_label_probabilities_of_another_shape_are_refused(model, clips, shape):
    with pytest.raises(ValueError, match=r"Expected label probabilities of shape \(2, 7\), got"):
        model(pixel_values_videos=clips, labels=torch.zeros(shape))


@pytest.mark.parametrize(
    "fields",
    [
        {"groups": {"good": ["happiness"], "bad": ["fear"]}},
        {"groups": {"all": ["happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear", "fear"]}},
        {"groups": {"all": ["happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fright"]}},
        {"id2label": {0: "happiness", 2: "fear"}},
        {"label2id": {"happiness": 1}},
        {"group_names": ["positive", "negative"]},
        {"group_names": ["positive", "neutral", "bad"]},
        {"num_frames": 0},
        {"image_size": 0},
        {"num_channels": -1},
        {"set_threshold": -0.1},
        {"set_threshold": 1.5},
    ],
    ids=lambda fields: ",".join(fields),
)
def test_a_configuration_that_contradicts_itself_is_refused(system, tiny_config, fields):
    with pytest.raises(
        StrictDataclassError,
        match=r"`(id2label|groups|group_names|num_frames|image_size|num_channels|set_threshold)` must",
    ):
        tiny_config(system, **fields)


def test_a_field_of_the_wrong_type_is_refused(system, tiny_config):
    with pytest.raises(StrictDataclassError, match=r"num_frames.*expected int, got str"):
        tiny_config(system, num_frames="four")
