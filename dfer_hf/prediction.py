"""What a clip was found to show: plain values, no tensors."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the original frame."""


@dataclass(frozen=True)
class Scores:
    """Probabilities by class name, which sum to 1, and the class that the system decides on.

    Args:
        probabilities: Class to probability.
        decided: The class that answers; the most probable one where it is left out. It is another where a system
            decides on the group first, and where groups follow the decision on a fine class.
        set_threshold: Probability from which on a class is in the prediction set, calibrated with the checkpoint; None
            where nobody did, and for groups.
    """

    probabilities: Mapping[str, float]
    decided: str | None = None
    set_threshold: float | None = None

    @property
    def label(self) -> str:
        """The class that answers."""
        return self.decided or max(self.probabilities, key=lambda label: self.probabilities[label])

    @property
    def confidence(self) -> float:
        """The probability of the class that answers."""
        return self.probabilities[self.label]

    @property
    def lead(self) -> float:
        """How much more probable the answer is than the best other class; negative where another is more probable."""
        others = (value for label, value in self.probabilities.items() if label != self.label)
        return self.confidence - max(others, default=0.0)

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Classes and probabilities, most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    @property
    def prediction_set(self) -> tuple[str, ...]:
        """The answer and the classes that it may be as well, most probable first.

        Of faces like those that the checkpoint was calibrated on, nine in ten show one of the set.
        """
        if self.set_threshold is None:
            return (self.label,)
        return tuple(label for label, value in self.ranked if value >= self.set_threshold or label == self.label)

    def to_dict(self) -> dict[str, Any]:
        """The answer and all probabilities."""
        return {
            "label": self.label,
            "confidence": round(self.confidence, 6),
            "probabilities": {label: round(value, 6) for label, value in self.probabilities.items()},
        }


MOST_NAMED = 3
"""A headline names so many classes of a prediction set; of more it says that the answer is not sure."""


def _answer(scores: Scores, is_unsure: bool) -> str:
    if not is_unsure:
        return scores.label
    if 1 < len(scores.prediction_set) <= MOST_NAMED:
        return ", or ".join(scores.prediction_set)
    return f"not sure, perhaps {scores.label}"


def _fine_dict(scores: Scores) -> dict[str, Any]:
    return scores.to_dict() | {"prediction_set": list(scores.prediction_set)}


@dataclass(frozen=True)
class FramePrediction:
    """One face in one frame.

    Args:
        frame_index: Index of the frame in the file, from 0.
        time_seconds: Time of the frame from the start of the clip.
        box: Where the face is; None where it was not seen.
        fine: Fine classes; None without a face, which is not the same as neutral.
        coarse: Groups of them, each as probable as its classes together; None without a face.
        weight: Share of the face's answer that rests on this frame; the weights of a face sum to 1.
        is_interpolated: Whether the model did not see this frame, and its scores lie between those of two that it saw.
        is_unsure: Whether the prediction set holds several classes, or another group is more probable; of a camera's
            picture also whether the system answers another group.
        points: Eyes, nose and mouth corners, `(5, 2)` in pixels of the original frame; None without a face.
        heat_map: Which parts of the aligned 112×112 crop speak for what is explained, `(h, w)` from 0 to 1, on one
            scale for all frames of the face, of whose places the strongest hundredth has 1; None if not asked.
        loss_without: How much of the probability of what is explained is lost when the quarter of the clip around this
            frame is left out; negative where it rises; None if not asked, or where there is nothing else.
    """

    frame_index: int
    time_seconds: float
    box: Box | None = None
    fine: Scores | None = None
    coarse: Scores | None = None
    weight: float = 0.0
    is_interpolated: bool = False
    is_unsure: bool = False
    points: np.ndarray | None = field(default=None, repr=False, compare=False)
    heat_map: np.ndarray | None = field(default=None, repr=False, compare=False)
    loss_without: float | None = None

    @property
    def answer(self) -> str:
        """What is shown of the frame: its class or classes, that this is not sure, or that there is no face."""
        return "face not seen" if self.fine is None else _answer(self.fine, self.is_unsure)

    def to_dict(self) -> dict[str, Any]:
        """Everything but points and heat map, ready for JSON."""
        return {
            "frame_index": self.frame_index,
            "time_seconds": round(self.time_seconds, 4),
            "box": None if self.box is None else [round(edge, 2) for edge in self.box],
            "weight": round(self.weight, 6),
            "loss_without": None if self.loss_without is None else round(self.loss_without, 6),
            "is_interpolated": self.is_interpolated,
            "is_unsure": self.is_unsure,
            "fine": None if self.fine is None else _fine_dict(self.fine),
            "coarse": None if self.coarse is None else self.coarse.to_dict(),
        }


class Quality(Protocol):
    """How well a face is seen, such as `dfer_hf.faces.quality.FaceQuality`."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is too little for a sure answer, as parts of a sentence."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        ...


NOTED_MOVEMENT = 0.25
"""Strength from which on a movement is named in a sentence."""


@dataclass(frozen=True)
class FaceExplanation:
    """What speaks for the answer to a face, or for another class.

    Args:
        method: Which drew the heat maps.
        target: What is explained, in words: a class, a group, or one and not another.
        probability: Of what is explained.
        parts: Part of the face to its share of the heat maps, in percent that sum to 100, the largest first.
        area_of_parts: Share of each part in the picture, which it would have of an even map.
        movements: Movement of the face to its strength from 0 to 1 in the frames that count, the strongest first;
            empty where the model learnt none.
        weight_agreement: Rank correlation of what is lost without each frame with the system's own frame weights, from
            -1 to 1; None where one of them is the same for all frames.
    """

    method: str
    target: str
    probability: float
    parts: Mapping[str, float]
    area_of_parts: Mapping[str, float]
    movements: Mapping[str, float] = field(default_factory=dict)
    weight_agreement: float | None = None

    @property
    def sentence(self) -> str:
        """The parts that carry more than their area and the movements that are seen, with their numbers."""
        parts = [
            f"{name} {share:.0f}%"
            for name, share in self.parts.items()
            if name != "elsewhere" and share > self.area_of_parts[name]
        ]
        movements = [
            f"{name} {100 * strength:.0f}%" for name, strength in self.movements.items() if strength >= NOTED_MOVEMENT
        ]
        said = [f"For {self.target} speak: {', '.join(parts) or 'no part of the face more than another'}"]
        return "; ".join(said + [f"seen in it: {', '.join(movements)}"] * bool(movements)) + "."

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        agreement = self.weight_agreement
        return {
            "method": self.method,
            "target": self.target,
            "probability": round(self.probability, 6),
            "sentence": self.sentence,
            "parts_percent": {name: round(share, 2) for name, share in self.parts.items()},
            "area_percent": {name: round(share, 2) for name, share in self.area_of_parts.items()},
            "movements": {name: round(strength, 4) for name, strength in self.movements.items()},
            "weight_agreement": None if agreement is None else round(agreement, 4),
        }


@dataclass(frozen=True)
class FacePrediction:
    """One person's face through the clip.

    Args:
        track_id: Number of the person in the clip, from 0 in order of appearance.
        fine: Fine classes of the whole clip.
        coarse: Groups of them, each as probable as its classes together.
        frames: Every frame from the face's first to its last, gaps included.
        is_unsure: Whether the prediction set holds several classes, another group is more probable or is what the
            system answers, or the face is seen too badly.
        quality: How well the face is seen; None where nobody measured it.
        explanation: What speaks for the answer; None if not asked.
    """

    track_id: int
    fine: Scores
    coarse: Scores
    frames: tuple[FramePrediction, ...]
    is_unsure: bool = False
    quality: Quality | None = None
    explanation: FaceExplanation | None = None

    @property
    def answer(self) -> str:
        """What is shown of the face: its class, the classes that it may be, or that this is not sure."""
        return _answer(self.fine, self.is_unsure)

    @property
    def coverage(self) -> float:
        """Share of the frames from first to last in which the face was seen."""
        return sum(frame.box is not None for frame in self.frames) / len(self.frames)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "track_id": self.track_id,
            "fine": _fine_dict(self.fine),
            "coarse": self.coarse.to_dict(),
            "coverage": round(self.coverage, 4),
            "is_unsure": self.is_unsure,
            "quality": None if self.quality is None else self.quality.to_dict(),
            "explanation": None if self.explanation is None else self.explanation.to_dict(),
            "frames": [frame.to_dict() for frame in self.frames],
        }


@dataclass(frozen=True)
class ClipPrediction:
    """Everything found in a clip.

    Args:
        source: Name of the file.
        model: Name of the checkpoint.
        num_frames: Frames that were read.
        duration_seconds: Time of the last frame plus one frame.
        frames_per_second: Mean rate of the frames that were read.
        faces: One prediction per tracked face, the one seen longest first.
        settings: How the faces were found and processed.
        warnings: What the reader should know, such as that the file was truncated.
    """

    source: str
    model: str
    num_frames: int
    duration_seconds: float
    frames_per_second: float
    faces: tuple[FacePrediction, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "source": self.source,
            "model": self.model,
            "num_frames": self.num_frames,
            "duration_seconds": round(self.duration_seconds, 4),
            "frames_per_second": round(self.frames_per_second, 4),
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
            "faces": [face.to_dict() for face in self.faces],
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """The dictionary as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def save_maps(self, path: str | Path) -> None:
        """Write the heat maps of every face as a compressed `.npz`, with what is needed to place them.

        For face 0 there are `face0_maps` `(frames, h, w)` from 0 to 1, of the aligned crop; `face0_frame_index`,
        `face0_time_seconds`, `face0_loss_without` `(frames,)`, the last NaN where it is not known; `face0_boxes`
        `(frames, 4)` and `face0_points` `(frames, 5, 2)` in pixels of the original frame; frames without a map are
        left out.

        Raises:
            ValueError: If no heat maps were asked for.
        """
        arrays: dict[str, np.ndarray] = {}
        for face in self.faces:
            frames = [frame for frame in face.frames if frame.heat_map is not None]
            if not frames:
                raise ValueError("Expected a prediction with heat maps, got one without. Analyse with `explain=True`.")
            losses = [np.nan if frame.loss_without is None else frame.loss_without for frame in frames]
            columns = {
                "maps": np.stack([np.asarray(frame.heat_map, dtype=np.float32) for frame in frames]),
                "frame_index": np.array([frame.frame_index for frame in frames]),
                "time_seconds": np.array([frame.time_seconds for frame in frames]),
                "loss_without": np.array(losses),
                "boxes": np.array([frame.box for frame in frames], dtype=np.float32),
                "points": np.array([frame.points for frame in frames], dtype=np.float32),
            }
            arrays |= {f"face{face.track_id}_{name}": column for name, column in columns.items()}
        with Path(path).open("wb") as file:
            # numpy's own types take every further keyword for `allow_pickle`.
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]

    def to_rows(self) -> Iterator[dict[str, Any]]:
        """One flat row per face and frame; scores are empty where the face was not seen."""
        for face in self.faces:
            for frame in face.frames:
                row: dict[str, Any] = {
                    "source": self.source,
                    "error": "",
                    "track_id": face.track_id,
                    "clip_fine": face.fine.label,
                    "clip_coarse": face.coarse.label,
                    "clip_set": " ".join(face.fine.prediction_set),
                    "clip_is_unsure": face.is_unsure,
                    "frame_index": frame.frame_index,
                    "time_seconds": round(frame.time_seconds, 4),
                    "weight": round(frame.weight, 6),
                    "loss_without": "" if frame.loss_without is None else round(frame.loss_without, 6),
                    "is_interpolated": frame.is_interpolated,
                    "is_unsure": frame.is_unsure,
                    "fine": "" if frame.fine is None else frame.fine.label,
                    "coarse": "" if frame.coarse is None else frame.coarse.label,
                }
                box = frame.box or ("", "", "", "")
                row |= {
                    name: edge if edge == "" else round(edge, 2)
                    for name, edge in zip(("left", "top", "right", "bottom"), box, strict=True)
                }
                for prefix, scores, clip in (("p", frame.fine, face.fine), ("p_coarse", frame.coarse, face.coarse)):
                    for label in clip.probabilities:
                        row[f"{prefix}_{label}"] = "" if scores is None else round(scores.probabilities[label], 6)
                yield row

    def to_csv(self) -> str:
        """The rows as CSV text with a header."""
        return rows_to_csv(list(self.to_rows()))


def error_row(source: str, message: str) -> dict[str, Any]:
    """The row that stands for a file that could not be analysed."""
    return {"source": source, "error": message}


def rows_to_csv(rows: list[dict[str, Any]]) -> str:
    """Write rows, which may have different columns, as CSV text; missing values are empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
