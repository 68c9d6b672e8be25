"""What several systems say of one clip, and in which of its seconds they agree."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any, TypeVar

from .prediction import ClipPrediction, FacePrediction, FramePrediction
from .prediction_run import predict_together
from .predictor import VideoPredictor

Frames = tuple[FramePrediction, ...]
"""What each system says of one frame."""

Key = TypeVar("Key")


class Agreement(str, Enum):
    """On what systems agree: on the class that each decides on, on its group only, or on neither."""

    EXPRESSION = "expression"
    GROUP = "group"
    NEITHER = "neither"


@dataclass(frozen=True)
class Stretch:
    """A part of a clip in which systems agree, or do not, in one way.

    Args:
        start_seconds: When it starts.
        end_seconds: When it ends.
        agreement: On what they agree; None where the face was not seen.
        answers: What each system says of most of its frames, in the order of the systems.
    """

    start_seconds: float
    end_seconds: float
    agreement: Agreement | None
    answers: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True)
class FaceComparison:
    """One face, by every system.

    Args:
        models: Names of the systems.
        faces: What each system says of the face.
        stretches: The face's time from its first frame to its last.
    """

    models: tuple[str, ...]
    faces: tuple[FacePrediction, ...]
    stretches: tuple[Stretch, ...]

    @property
    def track_id(self) -> int:
        """Number of the person in the clip."""
        return self.faces[0].track_id

    @property
    def agreement(self) -> Agreement:
        """On what the systems agree for the whole clip."""
        return _agreement([(face.fine.label, face.coarse.label) for face in self.faces])

    @property
    def seconds(self) -> dict[Agreement, float]:
        """For how long they agree on what."""
        lengths = dict.fromkeys(Agreement, 0.0)
        for stretch in self.stretches:
            if stretch.agreement is not None:
                lengths[stretch.agreement] += stretch.seconds
        return lengths

    def in_words(self, *, most: int = 3) -> list[str]:
        """Say in sentences where the systems agree, and name the longest stretches in which they do not.

        Args:
            most: So many stretches at most.
        """
        if not any(self.seconds.values()):
            return []
        same, group, neither = (f"{self.seconds[agreement]:.1f} s" for agreement in Agreement)
        sentences = [
            f"They agree on the expression for {same}, on its group only for {group}, on neither for {neither}."
        ]
        apart = [stretch for stretch in self.stretches if stretch.agreement not in (None, Agreement.EXPRESSION)]
        for stretch in sorted(apart, key=lambda stretch: -stretch.seconds)[:most]:
            said = "; ".join(f"{model}: {answer}" for model, answer in zip(self.models, stretch.answers, strict=True))
            sentences.append(f"{stretch.start_seconds:.1f} to {stretch.end_seconds:.1f} s: {said}.")
        return sentences

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; what the systems say is in their predictions."""
        return {
            "track_id": self.track_id,
            "answers": {model: face.answer for model, face in zip(self.models, self.faces, strict=True)},
            "agree_on": self.agreement.value,
            "seconds": {agreement.value: round(seconds, 4) for agreement, seconds in self.seconds.items()},
            "stretches": [
                {
                    "start_seconds": round(stretch.start_seconds, 4),
                    "end_seconds": round(stretch.end_seconds, 4),
                    "agree_on": None if stretch.agreement is None else stretch.agreement.value,
                    "answers": dict(zip(self.models, stretch.answers, strict=True)),
                }
                for stretch in self.stretches
            ],
        }


@dataclass(frozen=True)
class Comparison:
    """One clip, by every system.

    Args:
        predictions: Of one clip and the same faces, one for each system.
    """

    predictions: tuple[ClipPrediction, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the systems."""
        return tuple(prediction.model for prediction in self.predictions)

    @property
    def faces(self) -> list[FaceComparison]:
        """The faces, the one seen longest first."""
        clip = self.predictions[0]
        frame_seconds = clip.duration_seconds / clip.num_frames
        return [
            FaceComparison(self.models, faces, tuple(_stretches(faces, frame_seconds)))
            for faces in zip(*(prediction.faces for prediction in self.predictions), strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "source": self.predictions[0].source,
            "models": list(self.models),
            "faces": [face.to_dict() for face in self.faces],
            "predictions": [prediction.to_dict() for prediction in self.predictions],
        }

    def to_json(self) -> str:
        """The dictionary as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)


def compare(predictors: Sequence[VideoPredictor], source: Any, **options: Any) -> Comparison:
    """Let several systems answer one clip, which is decoded once and whose faces are found once.

    Args:
        predictors: With the systems; their names tell them apart.
        source: As of `VideoPredictor`.
        options: As of `VideoPredictor`.

    Raises:
        ValueError: If two predictors have the same name, or as of `predict_together`.
    """
    names = Counter(predictor.name for predictor in predictors)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"Expected models of different names, got several called {', '.join(twice)}. Rename them.")
    return Comparison(tuple(predict_together(predictors, source, **options)))


def runs_of_frames(
    faces: Sequence[FacePrediction], key: Callable[[Frames], Key], *, frame_seconds: float
) -> Iterator[tuple[float, float, Key, list[Frames]]]:
    """Join neighbouring frames that a function makes the same of.

    Args:
        faces: What each system says of one face.
        key: Takes what the systems say of one frame.
        frame_seconds: How long the last frame is shown.

    Yields:
        When each run starts and ends in seconds, what the function makes of it, and its frames.
    """
    frames = list(zip(*(face.frames for face in faces), strict=True))
    starts = [together[0].time_seconds for together in frames]
    ends = [*starts[1:], starts[-1] + frame_seconds]
    for found, indices in groupby(range(len(frames)), key=lambda index: key(frames[index])):
        run = list(indices)
        yield starts[run[0]], ends[run[-1]], found, [frames[index] for index in run]


def _stretches(faces: Sequence[FacePrediction], frame_seconds: float) -> Iterator[Stretch]:
    """Join neighbouring frames in which the systems agree on the same."""
    for start, end, agreement, run in runs_of_frames(faces, _agreement_of_frames, frame_seconds=frame_seconds):
        said = zip(*([frame.answer for frame in frames] for frames in run), strict=True)
        answers = tuple(Counter(by_system).most_common(1)[0][0] for by_system in said)
        yield Stretch(start, end, agreement, answers)


def _agreement_of_frames(frames: Frames) -> Agreement | None:
    labels = [
        (frame.fine.label, frame.coarse.label)
        for frame in frames
        if frame.fine is not None and frame.coarse is not None
    ]
    return _agreement(labels) if labels else None


def _agreement(labels: Sequence[tuple[str, str]]) -> Agreement:
    """On what systems agree whose classes and groups these are."""
    classes, groups = (set(names) for names in zip(*labels, strict=True))
    if len(classes) == 1:
        return Agreement.EXPRESSION
    return Agreement.GROUP if len(groups) == 1 else Agreement.NEITHER
