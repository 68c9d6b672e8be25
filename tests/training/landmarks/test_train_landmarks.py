import numpy as np
import pytest
import torch

import training.landmarks.train_landmarks
from training.landmarks.landmark_views import LandmarkViews
from training.landmarks.train_landmarks import (
    WEIGHTS_NAME,
    LandmarkRecipe,
    landmark_loss,
    load_head,
    relative_error,
    save_head,
    train,
)
from training.synthetic.faces import FaceRenderer, draw_scene

from ..face_kits import tiny_kit
from ..runs import StoppedError, log_of, stop_after

RECIPE = LandmarkRecipe(width=4, stages=((32, 1, 1.0), (40, 1, 0.5)), steps_per_epoch=3, batch_size=8, ema_decay=0.5)


@pytest.fixture(scope="module")
def renders():
    kit = tiny_kit()
    renderer, generator = FaceRenderer(kit, 48), np.random.default_rng(0)
    pictures = [renderer.render(draw_scene(kit, generator, {})) for _ in range(12)]
    return np.stack([picture.rgb for picture in pictures]), np.stack([picture.points for picture in pictures])


def run(renders, output, recipe=RECIPE):
    images, points = renders
    photos = LandmarkViews(images[..., 0], points)
    train(recipe, LandmarkViews(images, points), photos, {"photos_percent": photos}, output)
    return output


def test_a_run_writes_its_weights_and_its_log(renders, tmp_path):
    head = load_head(run(renders, tmp_path) / WEIGHTS_NAME)
    assert head.stem.out_channels == 4
    assert not head.training
    rows = log_of(tmp_path)
    assert [row["image_size"] for row in rows] == ["32", "40"]
    assert all(float(row["photos_percent"]) > 0 for row in rows)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(renders, tmp_path, monkeypatch):
    whole = load_head(run(renders, tmp_path / "whole") / WEIGHTS_NAME).state_dict()
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(StoppedError):
            run(renders, tmp_path / "stopped")
    assert len(log_of(tmp_path / "stopped")) == 1
    resumed = load_head(run(renders, tmp_path / "stopped") / WEIGHTS_NAME).state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-4, atol=1e-5)
    assert len(log_of(tmp_path / "stopped")) == 2


def test_a_head_is_read_as_it_was_written(tmp_path):
    torch.manual_seed(0)
    head = training.landmarks.train_landmarks.LandmarkHead(num_channels=1, width=6).eval()
    save_head(head, tmp_path / WEIGHTS_NAME)
    frames = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(load_head(tmp_path / WEIGHTS_NAME)(frames), head(frames))


def test_the_loss_is_a_weighted_mean_of_hubers():
    generator = torch.Generator().manual_seed(0)
    found, target = (torch.rand(3, 68, 2, generator=generator, dtype=torch.float64) * 0.05 for _ in range(2))
    weights, beta = torch.tensor([1.0, 0.3, 0.0]), 0.01
    expected = 0.0
    for face, weight in enumerate((1.0, 0.3, 0.0)):
        hubers = [
            0.5 * (gap / beta) ** 2 if gap < beta else gap / beta - 0.5
            for gap in (found[face] - target[face]).abs().flatten().tolist()
        ]
        expected += weight * sum(hubers) / len(hubers) / 1.3
    assert landmark_loss(found, target, weights, beta).item() == pytest.approx(expected)


def test_the_error_is_relative_to_the_distance_of_the_eyes():
    target = torch.rand(2, 68, 2)
    target[:, 36:42], target[:, 42:48] = torch.tensor([0.3, 0.5]), torch.tensor([0.7, 0.5])
    found = target + torch.tensor([0.006, 0.008])
    torch.testing.assert_close(relative_error(found, target), torch.full((2,), 0.025), rtol=1e-4, atol=1e-6)
