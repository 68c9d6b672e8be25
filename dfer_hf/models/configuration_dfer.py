"""What every system's configuration shares."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .hub_code import SavedWithCode

SEVEN_LABELS = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
SENTIMENTS = {
    "positive": ("happiness", "surprise"),
    "neutral": ("neutral",),
    "negative": ("sadness", "anger", "disgust", "fear"),
}


FURTHER_NEGATIVE = ("contempt", "anxiety", "helplessness", "disappointment")
"""Classes of MAFW that AEN's groups of the seven leave out."""


def _seven_id2label() -> dict[int, str]:
    return dict(enumerate(SEVEN_LABELS))


@dataclass(frozen=True)
class PrintedSize:
    """What was printed of the size of a preset.

    Args:
        parameters: In millions; None where nothing was printed.
        multiply_adds: In billions, of a clip of 16 frames of 112×112 pixels unless the note says otherwise.
        note: Where it was printed, and why ours differs where it does.
    """

    parameters: float | None
    multiply_adds: float | None
    note: str


@strict
class DferConfig(SavedWithCode, PreTrainedConfig):
    """Shape of a clip and the hierarchy of its classes.

    A system's class names its sizes: `presets` holds the fields of each that differ from the defaults, among them
    `paper` (the paper's), `small` (for two cores) and `tiny` (for tests, under a million parameters), and `printed`
    what was printed of the size of some of them. `group_table` says to which group a class of which name belongs.

    Other classes take one argument, `id2label`, or `num_labels` where they have no names: as a field, or when a
    checkpoint is loaded. Classes keep the group they have, or get that of `group_table`; others are one of their own.

    Args:
        num_frames: Frames of a clip.
        image_size: Height and width of a frame in pixels.
        num_channels: Channels of a frame.
        id2label: Index to fine class.
        label2id: Fine class to index; follows from `id2label` when left out.
        groups: Coarse class to its fine classes; every fine class stands in exactly one. Follows from `id2label` when
            left out.
        group_names: Order of the coarse classes, which JSON does not keep of `groups`; follows from it when left out.
        temperature: What logits are divided by before they become probabilities, fitted on validation clips so that
            confidence is accuracy (Guo et al. 2017, Sec. 4.2). No model reads it: whoever takes the softmax does, and
            the answer stays the same. It and `set_threshold` go back to their defaults where a checkpoint gets other
            classes, and in a new configuration that gets them by `num_labels`.
        coarse_first: Whether the answer is the most probable class of the most probable group, rather than of all.
        set_threshold: Least probability with which a class is in an answer's prediction set, calibrated so that the
            true class is in it nine times out of ten (Sadinle, Lei and Wasserman 2019, Least Ambiguous Set-Valued
            Classifiers). None, where nobody calibrated it, leaves the answer alone in the set. No model reads it
            either.
    """

    model_type = "dfer"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}}
    printed: ClassVar[dict[str, PrintedSize]] = {}
    group_table: ClassVar[dict[str, tuple[str, ...]]] = SENTIMENTS | {
        "negative": SENTIMENTS["negative"] + FURTHER_NEGATIVE
    }
    # Files of earlier versions have it; a margin between two classes says nothing about sets, so it is passed over.
    former_fields: ClassVar[tuple[str, ...]] = ("unsure_margin",)
    # What transformers' `Trainer` leaves out of what it hands to `compute_metrics`.
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        *("coarse_logits", "frame_logits", "frame_weights", "frame_movements", "loss_parts"),
        *("hidden_states", "attentions"),
    ]

    num_frames: int = 16
    image_size: int = 112
    num_channels: int = 3
    groups: dict[str, list[str]] = field(default_factory=dict)
    group_names: list[str] | None = None
    temperature: float = 1.0
    coarse_first: bool = False
    set_threshold: float | int | None = None
    id2label: dict[int, str] | dict[str, str] | None = field(default_factory=_seven_id2label)
    label2id: dict[str, int] | dict[str, str] | None = None
    problem_type: str | None = "single_label_classification"

    def __post_init__(self, **kwargs) -> None:
        num_labels = kwargs.pop("num_labels", None)
        for name in self.former_fields:
            kwargs.pop(name, None)
        group_names, self.group_names = self.group_names, None  # names follow only afterwards
        super().__post_init__(**kwargs)
        if num_labels not in (None, self.num_labels):
            self.num_labels, self.groups, group_names = num_labels, {}, None
            self.temperature, self.set_threshold = 1.0, None
        if not self.groups:
            self.regroup()
        self.group_names = group_names or list(self.groups)
        if sorted(self.group_names) == sorted(self.groups):
            self.groups = {name: self.groups[name] for name in self.group_names}
        self.label2id = self.label2id or self._numbers()

    def __setattr__(self, key: str, value: Any) -> None:
        """Let names follow when a configuration that is there gets other classes or groups, as while loading."""
        is_there = getattr(self, "group_names", None) is not None
        if key == "id2label" and is_there:
            value = {int(index): label for index, label in value.items()}
            if set(value.values()) != set(self.label_names):
                # Of other classes nobody has calibrated anything.
                self.temperature, self.set_threshold = 1.0, None
        if key == "label2id" and value:
            value = {label: int(index) for label, index in value.items()}
        super().__setattr__(key, value)
        if key == "groups" and is_there:
            self.group_names = list(self.groups)
        if key == "id2label" and is_there:
            self.label2id = self._numbers()
            if sorted(self.label_names) != self._grouped():
                self.regroup()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build it as transformers does, other classes first: a temperature that is given with them is theirs."""
        if "id2label" in kwargs:
            kwargs = {"id2label": kwargs.pop("id2label"), **kwargs}
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def own_fields(cls) -> set[str]:
        """Fields that our classes declare; those of transformers say how a checkpoint was stored."""
        return {name for each in cls.__mro__ if issubclass(each, DferConfig) for name in each.__annotations__}

    def regroup(self) -> None:
        """Give every class the group it has, or that of `group_table`, or the one of its own name."""
        tables, labels = (self.group_table, self.groups), self.label_names
        group_of = {label: name for table in tables for name, members in table.items() for label in members}
        names = dict.fromkeys([*self.groups, *self.group_table, *labels])
        groups = {name: [label for label in labels if group_of.get(label, label) == name] for name in names}
        self.groups = {name: members for name, members in groups.items() if members}

    def _grouped(self) -> list[str]:
        return sorted(label for group in self.groups.values() for label in group)

    def _numbers(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.label_names)}

    @classmethod
    def from_preset(cls, preset: str, **fields: Any) -> "DferConfig":
        """Build one of the system's sizes, with other fields where they are given.

        Raises:
            ValueError: If the system has no such preset.
        """
        if preset not in cls.presets:
            raise ValueError(
                f"Expected a preset of {cls.model_type}, one of {', '.join(cls.presets)}, got {preset!r}."
            )
        return cls(**cls.presets[preset] | fields)

    @property
    def label_names(self) -> list[str]:
        """Fine classes in the order of their index."""
        return [label for _, label in sorted((self.id2label or {}).items())]

    @property
    def group_of_label(self) -> list[int]:
        """Index of the group of each fine class, in the order of `label_names`."""
        index_of = {label: index for index, members in enumerate(self.groups.values()) for label in members}
        return [index_of[label] for label in self.label_names]

    def validate_clip(self) -> None:
        """Refuse clips without frames or pixels."""
        for name in ("num_frames", "image_size", "num_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")

    def validate_labels(self) -> None:
        """Refuse classes that are not numbered through, and names that stand for several."""
        names, numbers = self.label_names, self._numbers()
        is_whole = len(numbers) == len(names) > 1 and self.id2label == dict(enumerate(names))
        if not is_whole or self.label2id != numbers:
            raise ValueError(
                f"`id2label` must name two or more classes from 0 on, each once, got {self.id2label} and `label2id` "
                f"{self.label2id}. Leave `label2id` out: it follows."
            )

    def validate_answers(self) -> None:
        """Refuse a temperature that would reverse the answers or leave none, and a threshold beyond 0 to 1."""
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"`temperature` must be above 0 and finite, got {self.temperature}.")
        if self.set_threshold is not None and not 0 <= self.set_threshold <= 1:
            raise ValueError(f"`set_threshold` must be from 0 to 1, got {self.set_threshold}.")

    def validate_groups(self) -> None:
        """Refuse a hierarchy in which a fine class is missing or stands twice."""
        if list(self.groups) != self.group_names:
            raise ValueError(f"`group_names` must name the groups {list(self.groups)}, got {self.group_names}.")
        labels, members = sorted(self.label_names), self._grouped()
        if labels != members:
            raise ValueError(
                f"`groups` must hold every label exactly once: the labels are {labels}, the groups hold {members}. "
                "Leave `groups` out: they follow from `id2label`."
            )
