"""What prediction has to know of a checkpoint beside its network: plain values, which an ONNX folder keeps as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..video.sampling import Sampling


@dataclass(frozen=True)
class AnswerRules:
    """The classes of a checkpoint and how its answers are calibrated; see `DferConfig`.

    Args:
        num_frames: Frames of a clip.
        label_names: Fine classes in the order of their index.
        groups: Coarse class to its fine classes, in the order of their index.
        group_of_label: Index of the group of each fine class.
        temperature: What logits are divided by before they become probabilities.
        set_threshold: Least probability with which a class is in a prediction set; None where nobody calibrated it.
        blendshape_names: Of the movements that the system learnt to see; none where it learnt none.
    """

    num_frames: int
    label_names: list[str]
    groups: Mapping[str, list[str]]
    group_of_label: list[int]
    temperature: float
    set_threshold: float | None
    blendshape_names: list[str]

    @classmethod
    def of(cls, config: Any) -> "AnswerRules":
        """Take them from a model's configuration."""
        blendshape_names = getattr(config, "blendshape_names", None) or []
        own = (getattr(config, name) for name in tuple(cls.__annotations__)[:-1])
        return cls(*own, blendshape_names=blendshape_names)


@dataclass(frozen=True)
class CropRules:
    """How the faces of a checkpoint are cropped and sampled; see `DferVideoProcessor`.

    Args:
        alignment: How faces are cropped.
        sampling: Which frames the system looks at.
        window_seconds: Time that a clip spans.
        low_light: Whether dark faces are brightened.
    """

    alignment: str
    sampling: Sampling
    window_seconds: float
    low_light: bool

    @classmethod
    def of(cls, processor: Any) -> "CropRules":
        """Take them from a video processor."""
        return cls(*(getattr(processor, name) for name in cls.__annotations__))
