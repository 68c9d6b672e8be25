"""Turn what a model said of a face into a prediction: calibrated, decided by one rule, an entry for every frame."""

from dataclasses import replace

import numpy as np

from .engines import Engine
from .explain import ExplainOptions, frame_effects, rank_correlation
from .explain.words import even_shares, shares_of_parts, strength_of_movements
from .face_reader import FaceReading
from .faces.quality import FaceQuality, measure_quality
from .prediction import FaceExplanation, FacePrediction, FramePrediction, Scores

STRONGEST = 0.01
"""Share of all places of a face's heat maps that get their highest value."""


def summarise_face(track_id: int, reading: FaceReading, engine: Engine, *, times: list[float]) -> FacePrediction:
    """Predict one face.

    Frames between those the model saw have scores that lie between theirs, and no weight.

    Args:
        track_id: Number of the person.
        reading: What the model said.
        engine: What decides.
        times: Time in seconds of every frame of the video.
    """
    looked_at = reading.looked_at
    positions = np.arange(len(reading.seen))
    seconds = np.array([frame.time_seconds for frame in reading.seen])
    # Probabilities of every seen frame, (seen, labels), from those of the frames that were looked at.
    known = seconds[looked_at.positions]
    raw = np.stack([np.interp(seconds, known, column) for column in looked_at.fine.T], axis=1)
    frame_answers = _Decision(engine)(raw)
    clip, clip_groups, is_unsure = decide_clip(engine, reading.fine, reading.coarse)
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
        )
        for position, frame in enumerate(reading.seen)
    }
    explanation = None
    if reading.options is not None:
        explanation, losses = _explain(reading, reading.options, engine)
        maps = _scaled(looked_at.maps)
        for position, frame in enumerate(reading.seen):
            loss = None if losses is None else float(np.interp(seconds[position], known, losses))
            by_index[frame.index] = replace(by_index[frame.index], heat_map=maps[nearest[position]], loss_without=loss)
    first, last = reading.seen[0].index, reading.seen[-1].index
    frames = tuple(by_index.get(index) or FramePrediction(index, times[index]) for index in range(first, last + 1))
    quality = _quality(reading, coverage=len(by_index) / len(frames))
    return FacePrediction(
        track_id,
        clip,
        clip_groups,
        frames,
        is_unsure=is_unsure or not quality.is_enough,
        quality=quality,
        explanation=explanation,
    )


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Scale maps `(frames, h, w)` to 0 to 1; the strongest hundredth of places has 1, so that none hides the rest."""
    strongest = np.quantile(maps, 1 - STRONGEST, method="higher")
    return np.minimum(maps / max(strongest, np.finfo(np.float32).tiny), 1.0)


def decide_clip(engine: Engine, fine: np.ndarray, coarse: np.ndarray) -> tuple[Scores, Scores, bool]:
    """Calibrate and decide what a clip shows.

    Args:
        engine: What answered.
        fine: Probabilities of the fine classes before the temperature, `(labels,)`.
        coarse: Likewise of the groups, by the system's own answer to them, `(groups,)`.

    Returns:
        Fine class, group, and whether the answer is unsure.
    """
    decision = _Decision(engine)
    ((scores, groups, is_unsure),) = decision(fine[None])
    # Most systems only add up what they say of the classes.
    answers_groups = not np.allclose(coarse, fine @ decision.membership, atol=1e-3)
    names_another = answers_groups and decision.groups[coarse.argmax()] != groups.label
    return scores, groups, is_unsure or names_another


def _explain(
    reading: FaceReading, options: ExplainOptions, engine: Engine
) -> tuple[FaceExplanation, np.ndarray | None]:
    """What speaks for the target, and what each frame that was looked at takes with it, `(looked_at,)`, if anything.

    The answer is the mean over the windows, so what one of them loses is known for the whole; what is lost is counted
    in the probability that is shown, after the temperature.
    """
    looked_at, rules = reading.looked_at, engine.answer_rules
    tiny = np.finfo(np.float64).tiny
    whole, without = (
        np.log(_calibrated(probabilities.astype(np.float64), rules.temperature).clip(tiny))
        for probabilities in (reading.fine[None], reading.without.clip(0))
    )
    contrast = options.target.resolve(rules, engine.decide(reading.fine[None]))
    probability = contrast.probability(whole)
    losses, agreement, counts = None, None, np.zeros(len(looked_at.positions))
    if len(without):
        lost = probability[:, None] - contrast.probability(without[None])
        losses = counts = frame_effects(lost, reading.left_out)[0]
        in_answer = looked_at.weights > 0
        agreement = rank_correlation(losses[in_answer], looked_at.weights[in_answer])
    answer = rules.label_names[int(contrast.towards[0].argmax())]
    explanation = FaceExplanation(
        method=options.method,
        target=answer if options.target.name is None else str(options.target),
        probability=float(probability[0]),
        parts=shares_of_parts(looked_at.maps),
        area_of_parts=even_shares(),
        movements=strength_of_movements(looked_at.movements, rules.blendshape_names, counts),
        weight_agreement=None if agreement is None or np.isnan(agreement) else agreement,
    )
    return explanation, losses


class _Decision:
    """Names the class that answers and its group, and says whether the answer is sure."""

    def __init__(self, engine: Engine) -> None:
        rules = engine.answer_rules
        self.engine, self.rules = engine, rules
        self.groups = list(rules.groups)
        self.membership = np.eye(len(self.groups))[rules.group_of_label]  # (labels, groups)

    def __call__(self, raw: np.ndarray) -> list[tuple[Scores, Scores, bool]]:
        """Decide for each row of probabilities before the temperature, `(rows, labels)`.

        A group is as probable as its classes together. An answer is not sure where its prediction set holds another
        class, or another group is more probable.
        """
        rules, answers = self.rules, []
        fine = _calibrated(raw, rules.temperature)
        for chosen, fine_row, group_row in zip(self.engine.decide(raw), fine, fine @ self.membership, strict=True):
            probabilities = dict(zip(rules.label_names, fine_row.tolist(), strict=True))
            scores = Scores(probabilities, rules.label_names[chosen], set_threshold=rules.set_threshold)
            of_groups = dict(zip(self.groups, group_row.tolist(), strict=True))
            groups = Scores(of_groups, self.groups[rules.group_of_label[chosen]])
            answers.append((scores, groups, len(scores.prediction_set) > 1 or groups.lead < 0))
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
