"""Turn what a model said of a face into a prediction: calibrated, decided by one rule, an entry for every frame."""

import numpy as np

from .engines import TorchEngine
from .face_reader import FaceReading
from .faces.quality import FaceQuality, measure_quality
from .prediction import FacePrediction, FramePrediction, Scores


def summarise_face(
    track_id: int, reading: FaceReading, engine: TorchEngine, *, times: list[float], explain: bool
) -> FacePrediction:
    """Predict one face.

    Frames between those the model saw have scores that lie between theirs, and no weight.

    Args:
        track_id: Number of the person.
        reading: What the model said.
        engine: What decides.
        times: Time in seconds of every frame of the video.
        explain: Whether frames get heat maps.
    """
    config, looked_at = engine.model.config, reading.looked_at
    positions = np.arange(len(reading.seen))
    seconds = np.array([frame.time_seconds for frame in reading.seen])
    # Probabilities of every seen frame, (seen, labels), from those of the frames that were looked at.
    known = seconds[looked_at.positions]
    raw = np.stack([np.interp(seconds, known, column) for column in looked_at.fine.T], axis=1)
    fine = _calibrated(raw, config.temperature)
    membership = np.eye(len(config.groups))[config.group_of_label]  # (labels, groups)
    decide = _Decision(engine)
    frame_answers = decide(raw, fine, fine @ membership)
    clip_fine, clip_coarse = (_calibrated(part, config.temperature) for part in (reading.fine, reading.coarse))
    ((clip, clip_groups, is_unsure),) = decide(reading.fine[None], clip_fine[None], clip_coarse[None])
    after = np.searchsorted(known, seconds).clip(1, max(1, len(known) - 1))
    # Of the two around each frame, the one that is nearer; of a single one, that one.
    nearest = np.where(seconds - known[after - 1] <= np.abs(known[after % len(known)] - seconds), after - 1, after)
    nearest = nearest.clip(max=len(known) - 1)
    is_own = np.isin(positions, looked_at.positions)
    weights = np.zeros(len(positions))
    weights[looked_at.positions] = looked_at.weights / looked_at.weights.sum()
    by_index = {
        frame.index: FramePrediction(
            frame.index,
            frame.time_seconds,
            frame.box,
            *frame_answers[position][:2],
            weight=float(weights[position]),
            is_interpolated=not is_own[position],
            is_unsure=frame_answers[position][2],
            points=frame.points,
            heat_map=looked_at.maps[nearest[position]] if explain else None,
        )
        for position, frame in enumerate(reading.seen)
    }
    first, last = reading.seen[0].index, reading.seen[-1].index
    frames = tuple(by_index.get(index) or FramePrediction(index, times[index]) for index in range(first, last + 1))
    quality = _quality(reading, coverage=len(by_index) / len(frames))
    return FacePrediction(
        track_id, clip, clip_groups, frames, is_unsure=is_unsure or not quality.is_enough, quality=quality
    )


class _Decision:
    """Names the class that answers and its group, and says whether the answer is sure."""

    def __init__(self, engine: TorchEngine) -> None:
        config = engine.model.config
        self.engine, self.set_threshold = engine, config.set_threshold
        self.labels, self.groups = config.label_names, list(config.groups)
        self.group_of_label = config.group_of_label

    def __call__(self, raw: np.ndarray, fine: np.ndarray, coarse: np.ndarray) -> list[tuple[Scores, Scores, bool]]:
        """Decide for each row, by probabilities before the temperature.

        An answer is not sure where its prediction set holds another class, or another group is more probable.
        """
        answers = []
        for chosen, fine_row, coarse_row in zip(self.engine.decide(raw).tolist(), fine, coarse, strict=True):
            group = self.group_of_label[chosen]
            probabilities = dict(zip(self.labels, fine_row.tolist(), strict=True))
            scores = Scores(probabilities, self.labels[chosen], set_threshold=self.set_threshold)
            groups = Scores(dict(zip(self.groups, coarse_row.tolist(), strict=True)), self.groups[group])
            is_unsure = len(scores.prediction_set) > 1 or groups.lead < 0
            answers.append((scores, groups, is_unsure))
        return answers


def _calibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits behind probabilities `(..., classes)` by the temperature."""
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def _quality(reading: FaceReading, *, coverage: float) -> FaceQuality:
    frames = [reading.seen[position] for position in reading.looked_at.positions]
    return measure_quality(
        points=np.stack([frame.points for frame in frames]),
        boxes=np.array([frame.box for frame in frames]),
        confidences=np.array([frame.confidence for frame in frames]),
        crops_sharpness=reading.looked_at.sharpness,
        coverage=coverage,
    )
