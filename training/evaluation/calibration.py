"""Is a system right as often as it is sure? `python -m training.evaluation.calibration <predictions> <checkpoint>`.

This measures confidence against accuracy, and fits the temperature with which a checkpoint turns logits into
probabilities on predictions of validation clips. The predictions must not be those that are reported afterwards.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.predict import PredictionsError, softmax
from training.evaluation.prediction_files import load_predictions

NUM_BINS = 15
TEMPERATURE_BOUNDS = (0.05, 20.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy of clips in bins of equal width of the confidence.

    The confidence is the probability of the answer. A bin holds what is above its lower edge, up to and with its upper
    one, as in Guo et al. 2017 (On Calibration of Modern Neural Networks, Sec. 2), who use 15 bins.

    Args:
        counts: Clips of each bin, `(num_bins,)`.
        confidence: Their mean confidence, `(num_bins,)`; NaN in an empty bin.
        accuracy: Their accuracy, `(num_bins,)`; NaN in an empty bin.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def of(
        cls,
        probabilities: np.ndarray,
        labels: np.ndarray,
        *,
        num_bins: int = NUM_BINS,
        weights: np.ndarray | None = None,
    ) -> "Reliability":
        """Sort clips into bins by probabilities `(count, classes)` and true classes `(count,)`.

        Where clips stand for different shares of a whole, `weights` `(count,)` count them.
        """
        confidence = probabilities.max(axis=1)
        right = probabilities.argmax(axis=1) == labels
        bins = (np.ceil(confidence * num_bins).astype(int) - 1).clip(0, num_bins - 1)
        counts = np.bincount(bins, weights, minlength=num_bins)
        weighted = (values if weights is None else values * weights for values in (confidence, right))
        sums = (np.bincount(bins, values, minlength=num_bins) for values in weighted)
        means = [np.where(counts > 0, total / np.where(counts > 0, counts, 1), np.nan) for total in sums]
        return cls(counts, *means)

    @property
    def expected_calibration_error(self) -> float:
        """ECE, from 0 to 1: gap between confidence and accuracy, the mean over the clips (Guo et al. 2017, Eq. 3)."""
        gaps = np.abs(self.accuracy - self.confidence)[self.counts > 0]
        return float((gaps * self.counts[self.counts > 0]).sum() / self.counts.sum())


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Squared distance of the probabilities from the truth, the mean over clips, from 0 to 2 (Brier 1950).

    It sums over the classes, as Brier did, and is not divided by their number.

    >>> brier_score(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 1]))
    0.25
    """
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def negative_log_likelihood(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0, weights: np.ndarray | None = None
) -> float:
    """Mean of minus the natural logarithm of the probability of the true class.

    >>> round(negative_log_likelihood(np.array([[0.0, 0.0]]), np.array([1])), 4)
    0.6931
    """
    scaled = logits.astype(np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(scaled).sum(axis=1))
    return float(np.average(log_sums - scaled[np.arange(len(labels)), labels], weights=weights))


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature, and what it did to the clips it was fitted on.

    Args:
        temperature: What logits are to be divided by.
        loss_before: Negative log-likelihood at temperature 1.
        loss_after: And at the fitted one.
        at_bound: Whether it would lie beyond `TEMPERATURE_BOUNDS`, as when every clip was answered rightly: then there
            are too few clips to say how sure the system may be.
    """

    temperature: float
    loss_before: float
    loss_after: float
    at_bound: bool


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> FittedTemperature:
    """Find the temperature with the least negative log-likelihood (Guo et al. 2017, Sec. 4.2).

    The loss is convex in the inverse of the temperature, and its slope there is the mean of the logit to be expected
    less the true class's. Where it crosses zero is found by bisection, which has no step size and no start.

    Args:
        logits: Of validation clips, `(count, classes)`.
        labels: Their true classes, `(count,)`.
        weights: What share of a whole each clip stands for, `(count,)`; all alike where left out.

    Raises:
        ValueError: If there is no clip.
    """
    values = _as_values(logits)
    of_truth = values[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        expected = (softmax(values * inverse) * values).sum(axis=1)
        return float(np.average(expected - of_truth, weights=weights))

    low, high = (1 / bound for bound in reversed(TEMPERATURE_BOUNDS))
    at_bound = slope(low) >= 0 or slope(high) <= 0
    temperature = _lowest_temperature(lambda inverse: slope(inverse) >= 0)
    before, after = (negative_log_likelihood(logits, labels, value, weights) for value in (1.0, temperature))
    return FittedTemperature(temperature, before, after, at_bound)


def match_confidence(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Find the temperature at which the mean confidence is the accuracy, within `TEMPERATURE_BOUNDS`.

    The mean confidence falls as the temperature rises, so that it is found by bisection. The likelihood, in contrast,
    asks for less confidence everywhere where a few answers are sure and wrong.

    Args:
        logits: Of validation clips, `(count, classes)`.
        labels: Their true classes, `(count,)`.
        weights: What share of a whole each clip stands for, `(count,)`; all alike where left out.

    Raises:
        ValueError: If there is no clip.
    """
    values = _as_values(logits)
    accuracy = np.average(values.argmax(axis=1) == labels, weights=weights)
    return _lowest_temperature(
        lambda inverse: bool(np.average(softmax(values * inverse).max(axis=1), weights=weights) > accuracy)
    )


def _as_values(logits: np.ndarray) -> np.ndarray:
    """Logits in double precision, of which there have to be some."""
    if not len(logits):
        raise ValueError("Expected validation clips to fit a temperature on, got none. Cut off a larger part.")
    return logits.astype(np.float64)


def _lowest_temperature(is_too_sure: Callable[[float], bool]) -> float:
    """Find the lowest temperature within its bounds that is not too sure, by bisection of its inverse."""
    low, high = (1 / bound for bound in reversed(TEMPERATURE_BOUNDS))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_too_sure(middle) else (middle, high)
    return round(2 / (low + high), 6)


def calibration(logits: np.ndarray, labels: np.ndarray, *, temperature: float) -> dict[str, Any]:
    """ECE in percent, Brier score, negative log-likelihood and the bins they come from, at a temperature."""
    probabilities = softmax(logits.astype(np.float64) / temperature)
    reliability = Reliability.of(probabilities, labels)

    def rounded(values: Sequence[float] | np.ndarray) -> list[float | None]:
        return [None if np.isnan(value) else round(float(value), 6) for value in values]

    return {
        "temperature": temperature,
        "ece": round(100 * reliability.expected_calibration_error, 4),
        "brier": round(brier_score(probabilities, labels), 6),
        "nll": round(negative_log_likelihood(logits, labels, temperature), 6),
        "bins": {
            "count": reliability.counts.tolist(),
            "confidence": rounded(reliability.confidence),
            "accuracy": rounded(reliability.accuracy),
        },
    }


def store_temperature(checkpoint: Path, temperature: float, **fields: float) -> None:
    """Write a temperature, and other fields, into the `config.json` of a checkpoint's folder.

    Fields of earlier versions go.

    Raises:
        ValueError: If there is no such file.
        StrictDataclassError: If the configuration refuses a value, as a temperature that is not above 0.
    """
    path = checkpoint / "config.json"
    if not path.is_file():
        raise ValueError(f"Expected a checkpoint with a config.json in {checkpoint}, found none.")
    from transformers import AutoConfig

    import dfer_hf  # noqa: F401  puts our classes into the auto classes

    config = AutoConfig.from_pretrained(checkpoint)
    changed = {"temperature": temperature} | fields
    for name, value in changed.items():
        setattr(config, name, value)
    config.validate()
    values = json.loads(path.read_text(encoding="utf-8")) | changed
    values = {name: value for name, value in values.items() if name not in config.former_fields}
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("predictions", type=Path, help="of validation clips, written by training/evaluate.py")
    parser.add_argument("checkpoint", type=Path, help="folder whose config.json is to hold the temperature")


def main(arguments: argparse.Namespace) -> int:
    """Fit the temperature, store it, and print what changed."""
    try:
        predictions = load_predictions(arguments.predictions)
        fitted = fit_temperature(predictions.logits, predictions.labels)
        store_temperature(arguments.checkpoint, fitted.temperature)
    except (PredictionsError, FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    bound = " (at the bound: too few clips, or all answered alike)" if fitted.at_bound else ""
    sys.stdout.write(
        f"temperature {fitted.temperature:.4f}{bound}: negative log-likelihood {fitted.loss_before:.4f} -> "
        f"{fitted.loss_after:.4f} on {len(predictions)} clips\n"
    )
    return 0


if __name__ == "__main__":
    argument_parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(argument_parser)
    sys.exit(main(argument_parser.parse_args()))
