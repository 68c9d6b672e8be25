import cv2
import numpy as np
import pytest
import torch
from transformers import AutoVideoProcessor
from transformers.video_utils import VideoMetadata

import dfer_hf
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE, align
from dfer_hf.video.sampling import segment_indices
from training.data import transforms
from training.data.still_dataset import to_pixel_values


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def processor():
    return dfer_hf.DferVideoProcessor()


@pytest.fixture(scope="module")
def grey_processor():
    return dfer_hf.DferVideoProcessor(do_grayscale=True)


def pixel_values(processor, videos, **kwargs):
    return processor(videos, return_tensors="pt", input_data_format="channels_last", **kwargs)["pixel_values_videos"]


@pytest.mark.parametrize("loader", [dfer_hf.DferVideoProcessor, AutoVideoProcessor], ids=["own", "auto"])
def test_settings_survive_saving_and_loading(crops, tmp_path, loader):
    settings = {
        "do_grayscale": True,
        "alignment": "arcface_112",
        "detector": "mtcnn",
        "window_seconds": 2.5,
        "num_frames": 8,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.5, 0.6, 0.7],
        "size": {"height": 56, "width": 48},
    }
    processor = dfer_hf.DferVideoProcessor(**settings)
    processor.save_pretrained(tmp_path)
    loaded = loader.from_pretrained(tmp_path)
    assert type(loaded) is dfer_hf.DferVideoProcessor
    for name, value in settings.items():
        stored = getattr(loaded, name)
        assert type(value)(stored) == value, name
    assert {**loaded.to_dict(), "auto_map": None} == {**processor.to_dict(), "auto_map": None}
    torch.testing.assert_close(pixel_values(loaded, crops), pixel_values(processor, crops), rtol=0, atol=0)


def test_a_clip_comes_out_scaled_and_normalised(processor, crops):
    values = pixel_values(processor, crops)
    assert values.shape == (1, 5, 3, 112, 112)
    assert values.dtype == torch.float32
    expected = (crops.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    torch.testing.assert_close(values[0], torch.from_numpy(expected).float(), rtol=0, atol=1e-5)


def test_a_list_of_clips_comes_out_as_a_batch(processor, crops):
    batch = pixel_values(processor, [crops, crops[::-1].copy()])
    assert batch.shape == (2, 5, 3, 112, 112)
    torch.testing.assert_close(batch[0], pixel_values(processor, crops)[0], rtol=0, atol=0)
    torch.testing.assert_close(batch[1], batch[0].flip(0), rtol=0, atol=0)


@pytest.mark.parametrize("num_frames", [1, 3])
def test_frames_are_not_mistaken_for_channels(processor, crops, num_frames):
    values = pixel_values(processor, crops[:num_frames])
    assert values.shape == (1, num_frames, 3, 112, 112)
    torch.testing.assert_close(values, pixel_values(processor, crops)[:, :num_frames], rtol=0, atol=0)


def test_other_sizes_are_resized(processor, crops):
    large = np.repeat(np.repeat(crops, 2, axis=1), 2, axis=2)
    values = pixel_values(processor, large)
    assert values.shape == (1, 5, 3, 112, 112)
    torch.testing.assert_close(values.mean(), pixel_values(processor, crops).mean(), rtol=0, atol=0.01)
    small = pixel_values(processor, crops, size={"height": 56, "width": 56})
    assert small.shape == (1, 5, 3, 56, 56)


def test_frames_that_cannot_be_crops_are_refused(processor, crops):
    with pytest.raises(ValueError, match="do_crop_faces=True"):
        pixel_values(processor, np.repeat(crops, 2, axis=2))


def test_grey_is_luma_in_all_three_channels(grey_processor, crops):
    values = pixel_values(grey_processor, crops)
    luma = crops.astype(np.float64) @ (0.299, 0.587, 0.114)
    expected = torch.from_numpy((luma / 255 - 0.5) / 0.25).float()
    half_a_level = 0.5001 / 255 / 0.25
    for channel in range(3):
        torch.testing.assert_close(values[0, :, channel], expected, rtol=0, atol=half_a_level)


def test_grey_is_what_opencv_reads_as_grey(grey_processor, crops):
    """Training stills are read with OpenCV's conversion."""
    read = np.stack([cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops])
    values = pixel_values(grey_processor, crops)[0, :, 0] * 0.25 * 255 + 127.5
    off = (values.round() - torch.from_numpy(read)).abs()
    assert off.max() <= 1
    assert (off > 0).float().mean() < 0.01


def test_grey_crops_stay_as_they_are(processor, grey_processor):
    every_level = np.arange(256, dtype=np.uint8).repeat(49).reshape(1, 112, 112, 1).repeat(3, axis=-1)
    torch.testing.assert_close(
        pixel_values(grey_processor, every_level), pixel_values(processor, every_level), rtol=0, atol=0
    )


def test_colours_are_kept_unless_the_checkpoint_says_otherwise(processor, crops):
    values = pixel_values(processor, crops)
    assert not torch.equal(values[:, :, 0], values[:, :, 1])


def test_training_and_inference_scale_and_normalise_alike(grey_processor):
    grey = np.random.default_rng(1).integers(0, 256, (4, 112, 112), dtype=np.uint8)
    trained = to_pixel_values(torch.from_numpy(grey)[:, None].float() / 255)
    used = pixel_values(grey_processor, grey[..., None].repeat(3, axis=-1))[0]
    assert trained.shape == used.shape
    torch.testing.assert_close(trained, used, rtol=0, atol=1e-5)


def test_training_and_inference_cut_out_the_same_crop():
    """A 48×48 still, as in the corpus, by five points that are turned, shifted and scaled against the template."""
    y, x = np.mgrid[:48, :48]
    still = (127 + 60 * np.sin(x / 5 + 0.3) + 60 * np.cos(y / 6)).astype(np.uint8)
    turn = np.array([(np.cos(0.2), -np.sin(0.2)), (np.sin(0.2), np.cos(0.2))])
    points = (ARCFACE_TEMPLATE - 56) @ turn.T * 0.36 + (24.7, 22.9)
    matrices = transforms.alignment_matrices(points[None])
    warped = transforms.warp(torch.from_numpy(still)[None, None].float() / 255, matrices, 112)[0, 0] * 255
    aligned = align(still[..., None].repeat(3, axis=-1), points)[..., 0].astype(np.float32)
    # The outermost pixels fade out differently.
    beyond = (aligned == 0) | (warped.numpy() == 0)
    inside = cv2.erode((~beyond).astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=1).astype(bool)
    assert inside.mean() > 0.5
    assert np.abs(warped.numpy() - aligned)[inside].max() <= 1.5  # one grey level, and the rounding to whole ones


def test_warp_shows_the_same_window_at_every_size():
    y, x = np.mgrid[:48, :48]
    still = torch.from_numpy(0.5 + 0.3 * np.sin(x / 6) * np.cos(y / 7)).float()[None, None]
    matrices = transforms.alignment_matrices(((ARCFACE_TEMPLATE - 56) * 0.35 + 24)[None])
    large, small = transforms.warp(still, matrices, 112), transforms.warp(still, matrices, 56)
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    assert (shrunk - small)[..., 3:-3, 3:-3].abs().max() < 0.005


@pytest.mark.parametrize("run", [1, 2, 4])
@pytest.mark.parametrize("total", [1, 9, 16, 17, 23, 64, 301])
def test_frames_of_a_file_are_those_the_papers_look_at(run, total):
    processor = dfer_hf.DferVideoProcessor(num_frames=16, frames_per_segment=run)
    sampled = processor.sample_frames(VideoMetadata(total_num_frames=total, fps=25.0))
    expected = segment_indices(total, num_segments=16 // run, frames_per_segment=run)
    assert sampled.tolist() == expected.tolist()


@pytest.mark.parametrize("side", [48, 56, 150])
def test_pixels_do_not_depend_on_the_processor_of_the_machine(crops, monkeypatch, side):
    processor = dfer_hf.DferVideoProcessor(size={"height": side, "width": side})
    usual = processor(crops, return_tensors="pt")["pixel_values_videos"]
    # What torchvision asks to choose between whole numbers and floats.
    for capability in ("DEFAULT", "AVX2", "AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        assert torch.equal(processor(crops, return_tensors="pt")["pixel_values_videos"], usual)
