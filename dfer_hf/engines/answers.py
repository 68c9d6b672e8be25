"""What every engine says of clips, and what prediction needs of one; no tensors of any library."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from ..explain import ExplainOptions
from .rules import AnswerRules, CropRules


@dataclass(frozen=True)
class ClipAnswers:
    """What the model says of clips of one face, as arrays; all probabilities are before the checkpoint's temperature.

    Args:
        fine: Probabilities of the fine classes, `(clips, labels)`.
        coarse: Probabilities of the groups, `(clips, groups)`.
        frame_fine: Probabilities of the fine classes for each frame, `(clips, frames, labels)`.
        frame_weights: How much each frame counted, `(clips, frames)`.
        movements: How far each blendshape went, `(clips, frames, blendshapes)`; none where the model learnt none.
        maps: Heat maps, `(clips, frames, h, w)`, not scaled; without height and width where none are wanted.
    """

    fine: np.ndarray
    coarse: np.ndarray
    frame_fine: np.ndarray
    frame_weights: np.ndarray
    movements: np.ndarray
    maps: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["ClipAnswers"]) -> "ClipAnswers":
        """Put batches of clips together."""
        names = (entry.name for entry in fields(cls))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class ExplainedClip:
    """What the model says of one clip, and what its answer rests on.

    Args:
        answers: With heat maps.
        encoded: The frames as the engine's `encode` gives them; None where the model sees them together.
        without: Probabilities of the clip without some of its frames, `(variants, labels)`.
    """

    answers: ClipAnswers
    encoded: Any
    without: np.ndarray


class Engine(Protocol):
    """What answers face crops; one engine may be shared by threads and handed to other processes."""

    @property
    def answer_rules(self) -> AnswerRules:
        """Classes and calibration."""
        ...

    @property
    def crop_rules(self) -> CropRules:
        """Cropping and sampling."""
        ...

    @property
    def takes_any_length(self) -> bool:
        """Whether clips may have another number of frames than the configuration's."""
        ...

    @property
    def methods(self) -> Sequence[str]:
        """Names of the methods by which it draws heat maps, the default first."""
        ...

    def digest(self) -> str:
        """Hash of whatever decides on answers but for the settings, in hexadecimal."""
        ...

    def settle(self) -> None:
        """Get ready for work in this process, which may have been forked from the one that loaded the model."""
        ...

    def check(self, options: ExplainOptions) -> None:
        """Refuse an explanation that is not offered, before there is anything to explain.

        Raises:
            UnknownMethodError: If the engine does not offer the method; see `ExplainOptions.check`.
        """
        ...

    def answer(self, clips: Iterable[np.ndarray]) -> ClipAnswers:
        """Answer clips, each uint8 of shape `(frames, 112, 112, 3)`, without heat maps."""
        ...

    def explain(
        self, clip: np.ndarray, options: ExplainOptions, *, left_out: np.ndarray | None = None
    ) -> ExplainedClip:
        """Answer one clip with heat maps, and without the frames that `left_out` `(variants, frames)` names."""
        ...

    def encode(self, crops: np.ndarray) -> Any:
        """Encode crops `(frames, 112, 112, 3)` one by one, for `answer_encoded` of the same engine."""
        ...

    def answer_encoded(
        self, encoded: Sequence[Any], *, frames_per_second: float | None, left_out: np.ndarray | None = None
    ) -> tuple[ClipAnswers, np.ndarray]:
        """Answer one clip whose frames were encoded part by part, as if it had been given whole.

        Returns:
            The answer, and probabilities without the frames that `left_out` `(variants, frames)` names,
            `(variants, labels)`.
        """
        ...

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Index of the class that answers, `(...,)`, of probabilities before the temperature, `(..., labels)`."""
        ...
