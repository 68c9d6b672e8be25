import argparse
import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from scipy.optimize import minimize_scalar
from sklearn.metrics import brier_score_loss, log_loss

import dfer_hf
from dfer_hf.checkpoints import load_checkpoint
from dfer_hf.faces import Detection
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from training.evaluation import calibration as command
from training.evaluation.calibration import (
    TEMPERATURE_BOUNDS,
    Reliability,
    brier_score,
    calibration,
    fit_temperature,
    match_confidence,
    negative_log_likelihood,
    store_temperature,
)
from training.evaluation.predict import softmax
from training.evaluation.prediction_files import save_predictions

from ..small_source import random_predictions


class OneFace:
    settings = {"detector": "one face"}

    def detect(self, images):
        points = np.array([(60.0, 50), (90, 50), (75, 65), (63, 85), (87, 85)])
        return [[Detection((40.0, 20.0, 110.0, 110.0), points, 0.99)] for _ in images]


def cases():
    rng = np.random.default_rng(4)
    for num_classes in (2, 3, 7, 11):
        logits = rng.normal(0, 3, (50, num_classes)).astype(np.float32)
        labels = rng.integers(0, num_classes, 50)
        labels[:num_classes] = np.arange(num_classes)
        yield logits, labels


def test_scores_agree_with_scikit_learn():
    for logits, labels in cases():
        probabilities = softmax(logits)
        every = np.arange(logits.shape[1])
        assert negative_log_likelihood(logits, labels) == pytest.approx(log_loss(labels, probabilities, labels=every))
        brier = brier_score_loss(labels, probabilities, labels=every, scale_by_half=False)
        assert brier_score(probabilities, labels) == pytest.approx(brier)
        halved = negative_log_likelihood(logits / 2, labels)
        assert negative_log_likelihood(logits, labels, 2.0) == pytest.approx(halved)


def test_sure_and_wrong_stays_finite():
    logits = np.array([[0.0, 2000.0]], dtype=np.float32)
    assert negative_log_likelihood(logits, np.array([0])) == 2000.0


def test_the_calibration_error_is_the_gap_of_each_bin_weighed_by_its_clips():
    confidence = np.array([0.55, 0.59, 0.62, 0.95, 1.0])
    right = np.array([True, False, True, True, True])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    reliability = Reliability.of(probabilities, np.where(right, 0, 1), num_bins=10)
    assert reliability.counts.tolist() == [0, 0, 0, 0, 0, 2, 1, 0, 0, 2]
    np.testing.assert_allclose(reliability.confidence[[5, 6, 9]], [0.57, 0.62, 0.975])
    np.testing.assert_allclose(reliability.accuracy[[5, 6, 9]], [0.5, 1, 1])
    assert np.isnan(reliability.accuracy[[0, 4, 7, 8]]).all()
    expected = (2 * 0.07 + 1 * 0.38 + 2 * 0.025) / 5
    assert reliability.expected_calibration_error == pytest.approx(expected)


def test_a_bin_holds_its_upper_edge_and_not_its_lower_one():
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [0.7500001, 0.2499999]])
    counts = Reliability.of(probabilities, np.array([0, 0, 0]), num_bins=4).counts
    assert counts.tolist() == [0, 1, 1, 1]


def test_the_fitted_temperature_has_the_least_loss():
    for seed in range(5):
        predictions = random_predictions(300, seed=seed)
        logits = predictions.logits * (0.5 + seed)
        fitted = fit_temperature(logits, predictions.labels)
        best = minimize_scalar(
            lambda log, logits=logits, labels=predictions.labels: negative_log_likelihood(
                logits, labels, float(np.exp(log))
            ),
            bounds=(-3, 3),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert fitted.temperature == pytest.approx(np.exp(best.x), rel=1e-4)
        assert fitted.loss_after == pytest.approx(best.fun, abs=1e-9)
        assert fitted.loss_before == negative_log_likelihood(logits, predictions.labels)
        assert not fitted.at_bound


def test_logits_that_are_too_sure_are_cooled():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 7))
    labels = np.array([rng.choice(7, p=row) for row in softmax(logits)])
    fitted = fit_temperature(4 * logits, labels)
    assert fitted.temperature == pytest.approx(4, rel=0.05)
    before = calibration(4 * logits, labels, temperature=1.0)
    after = calibration(4 * logits, labels, temperature=fitted.temperature)
    assert after["ece"] < 3 < 20 < before["ece"]
    assert after["brier"] < before["brier"]
    assert sum(after["bins"]["count"]) == 4000


@pytest.mark.parametrize(("answer", "temperature"), [(0, 0.05), (1, 20.0)], ids=["all right", "all wrong"])
def test_clips_that_are_all_alike_fit_only_a_bound_and_say_so(answer, temperature):
    labels = np.array([0, 1, 2, 0])
    logits = np.eye(3)[(labels + answer) % 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit_temperature(logits, labels)
    assert fitted.at_bound
    assert fitted.temperature == temperature
    with pytest.raises(ValueError, match="Expected validation clips"):
        fit_temperature(logits[:0], labels[:0])


def test_the_mean_confidence_becomes_the_accuracy():
    generator = np.random.default_rng(0)
    logits, weights = generator.normal(size=(400, 7)), generator.random(400)
    labels = np.where(generator.random(400) < 0.6, logits.argmax(axis=1), generator.integers(0, 7, 400))
    temperature = match_confidence(logits, labels, weights)
    accuracy = np.average(logits.argmax(axis=1) == labels, weights=weights)
    assert np.average(softmax(logits / temperature).max(axis=1), weights=weights) == pytest.approx(accuracy, abs=1e-4)
    assert match_confidence(2 * logits, labels, weights) == pytest.approx(2 * temperature, rel=1e-4)
    # Nothing is sure enough where all are right.
    assert match_confidence(logits, logits.argmax(axis=1)) == pytest.approx(TEMPERATURE_BOUNDS[0], rel=1e-3)
    with pytest.raises(ValueError, match="got none"):
        match_confidence(logits[:0], labels[:0])


def test_a_stored_temperature_changes_how_sure_the_predictor_is_and_not_what_it_says(tiny_checkpoint, tmp_path, clips):
    warm, cold = tmp_path / "warm", tmp_path / "cold"
    for folder in (warm, cold):
        shutil.copytree(tiny_checkpoint, folder)
    store_temperature(cold, 0.25)
    plain, sharp = (
        dfer_hf.VideoPredictor.from_pretrained(folder, device="cpu", detector=OneFace()) for folder in (warm, cold)
    )
    pixels = torch.randn(2, 3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(plain.model(pixels).logits, sharp.model(pixels).logits)
    answers = [predictor(clips / "still.png").faces[0] for predictor in (plain, sharp)]
    for scores in ([face.fine for face in answers], [face.frames[0].fine for face in answers]):
        before, after = (np.array(list(score.probabilities.values())) for score in scores)
        np.testing.assert_allclose(after, before**4 / (before**4).sum(), rtol=1e-4)
    for face in answers:
        together = [sum(face.fine.probabilities[label] for label in labels) for labels in plain.groups.values()]
        np.testing.assert_allclose(list(face.coarse.probabilities.values()), together, rtol=1e-4)
    assert plain.settings["temperature"] == 1.0
    assert sharp.settings["temperature"] == 0.25


def test_storing_a_temperature_changes_nothing_else(tiny_checkpoint, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    store_temperature(folder, 1.5)
    after = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert after == before | {"temperature": 1.5}
    with pytest.raises(StrictDataclassError, match="`temperature` must be above 0"):
        store_temperature(folder, -1.0)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == after
    with pytest.raises(ValueError, match=r"Expected a checkpoint with a config.json"):
        store_temperature(tmp_path, 1.5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_without_sense_is_refused(temperature):
    with pytest.raises(StrictDataclassError, match="`temperature` must be above 0 and finite"):
        FrameResNetConfig(temperature=temperature)


def test_an_older_checkpoint_has_temperature_one(tiny_checkpoint, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values.pop("temperature")
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    assert FrameResNetConfig.from_pretrained(folder).temperature == 1.0


def test_the_command_fits_and_stores(tiny_checkpoint, tmp_path, capsys):
    shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    predictions = random_predictions(100)
    save_predictions(predictions, tmp_path / "predictions.csv")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)

    def run(*words):
        return command.main(parser.parse_args([str(word) for word in words]))

    assert run(tmp_path / "predictions.csv", tmp_path / "checkpoint") == 0
    expected = fit_temperature(predictions.logits, predictions.labels).temperature
    config = FrameResNetConfig.from_pretrained(tmp_path / "checkpoint")
    assert config.temperature == expected
    assert f"temperature {expected:.4f}: negative log-likelihood" in capsys.readouterr().out
    assert run(tmp_path / "none.csv", tmp_path / "checkpoint") == 1
    assert "Expected predictions at" in capsys.readouterr().err


def test_a_checkpoint_of_an_earlier_version_loads_and_loses_its_margin_when_calibrated(tiny_checkpoint, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(tiny_checkpoint, folder)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(values | {"unsure_margin": 0.3}), encoding="utf-8")
    assert load_checkpoint(folder).model.config.set_threshold is None
    store_temperature(folder, 1.5, set_threshold=0.2)
    assert "unsure_margin" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert load_checkpoint(folder).model.config.set_threshold == 0.2
