"""The settings of a training run, read from a TOML recipe."""

import copy
import dataclasses
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

from dfer_hf.video.sampling import Sampling

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class HeadStart:
    """A training of what follows the parts that see frames one by one, on stored outputs of these.

    Args:
        num_clips: Random clips whose outputs are stored.
        num_steps: Optimiser steps.
        batch_size: Clips of a step.
        learning_rate: At the start; it falls to zero.
        weight_decay: On all weights.
    """

    num_clips: int
    num_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a clip, the same for all its frames; a change whose value is 0 is not made.

    Args:
        crop_area: Least and greatest share of the picture that a random crop keeps.
        crop_aspect: Least and greatest width over height of the crop.
        flip_chance: Chance of a mirrored clip.
        brightness: Greatest relative change; likewise `contrast` and `saturation`.
        contrast: See `brightness`.
        saturation: See `brightness`.
        hue: Greatest shift of the hue as a share of the hue circle, at most 0.5.
        jitter_chance: Chance that brightness, contrast, saturation and hue change.
        rotation: Greatest angle in degrees.
        rotation_chance: Chance of a rotation.
        grey_chance: Chance that a clip loses its colours, before they are jittered.
        blur_chance: Chance of a Gaussian blur of 0.1 to 2 pixels.
        erasing_chance: Chance that a rectangle of noise covers a part.
        erasing_area: Least and greatest share of the picture it covers.
    """

    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip_chance: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_chance: float = 1.0
    rotation: float = 0.0
    rotation_chance: float = 1.0
    grey_chance: float = 0.0
    blur_chance: float = 0.0
    erasing_chance: float = 0.0
    erasing_area: tuple[float, float] = (0.02, 1 / 3)


@dataclass(frozen=True)
class Schedule:
    """The schedule of the learning rate, as a factor on its peak.

    Args:
        kind: `cosine` (by step), `step` or `exponential` (by epoch), or `constant`.
        warmup_share: Share of all steps in which it rises linearly from zero; `warmup_epochs` says the same in epochs.
        warmup_epochs: See `warmup_share`; at most one of the two.
        milestones: Epochs at which `step` multiplies by `decay`.
        decay: Of `step`, at each milestone; of `exponential`, at each epoch.
        floor: Factor that `cosine` ends on.
        warmup_start: Factor that the warm-up starts from; where it is left out, the first step has its share of the
            rise already.
        cosine_counts_warmup: Whether `cosine` counts from the first step, so that the rate drops a little when the
            warm-up ends, as in timm and mmcv; otherwise it counts from the end of the warm-up.
        delay: Steps by which the rate lags behind.
    """

    kind: str = "cosine"
    warmup_share: float = 0.0
    warmup_epochs: float = 0.0
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    floor: float = 0.0
    warmup_start: float | None = None
    cosine_counts_warmup: bool = False
    delay: int = 0


@dataclass(frozen=True)
class Normalisation:
    """How pixels reach the model in runs on clips; it becomes part of the checkpoint's processor.

    Args:
        mean: Of each channel, subtracted from values in [0, 1].
        std: Of each channel, divided by.
        greyscale: Whether colours are reduced to luma.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    greyscale: bool = False


CHOICES = {
    "optimiser": ("sgd", "adam", "adamw"),
    "sampler": ("shuffle", "weighted", "repeat_factor"),
    "select": ("validation", "test", "last"),
    "select_by": ("war", "uar", "f1"),
    "trainable": ("all", "head", "lora"),
}

TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")


@dataclass(frozen=True)
class Crops:
    """How the face crops of a cache have to be made.

    Args:
        alignment: `arcface_112`, as `dfer predict` cuts faces out; or `corpus`, the crops of the release as they are.
        size: Side of the crops in pixels, from which training cuts random parts.
    """

    alignment: str
    size: int


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Args:
        system: Model type without the prefix, such as `aen`.
        data: `ferplus_stills`, `ferplus_clips`, `moving_ferplus`, `faces`, `moving_faces` or a corpus, such as `dfew`.
        stages: Image size, number of epochs and strength of the augmentation, in order: small pictures first is
            cheaper, and the last epochs see faces nearer to what inference sees. Strength is for the FER+ data.
        batch_size: Samples of an optimiser step, over all processes and micro-batches together.
        learning_rate: Peak of the schedule.
        preset: Named size of the system, such as `small`.
        model: Fields of its configuration that differ from the preset.
        classes: Classes of the run in the order of the labels, each with the classes of the dataset that it joins;
            samples of other classes are left out. Without it, all classes of the dataset are used as they are.
        minimum_frames: Clips of fewer frames are not trained on; the test part keeps them.
        crops: How the cache has to be made; without it, any cache will do.
        epoch_length: Samples of an epoch; as many as the data has where it is left out.
        accumulation: Micro-batches of a step.
        schedule: Of the learning rate.
        optimiser: `sgd`, `adam` or `adamw`.
        momentum: Of `sgd`; with `nesterov` as a field of its own.
        nesterov: Whether momentum looks ahead.
        betas: Of `adam` and `adamw`.
        weight_decay: On weights of more than one dimension; on all where `decay_all` is set.
        decay_all: See `weight_decay`.
        undecayed: Ends of the names of weights that do not decay.
        gradient_clip: Greatest norm of the gradient; 0 for none.
        ema_decay: Of the average of the weights that is kept; 0 keeps the weights themselves.
        sampler: `shuffle`, `weighted` (with replacement) or `repeat_factor`; see `training/data/samplers.py`.
        balance: Of `weighted`: a class with share `p` is drawn in proportion to `p^(1 - balance)`; 1 is inverse
            frequency.
        face_shares: Of `faces` and `moving_faces`: how often each dataset is drawn from, relative to the others.
        repeat_threshold: Of `repeat_factor`: share below which a class is repeated.
        sampling: Which frames of a clip are looked at; in evaluation always the middle ones, never random.
        augmentation: Random changes of a clip.
        normalisation: How pixels reach the model.
        initialise_from: Where first weights come from, in order; see `training/engine/pretrained.py`.
        starts_otherwise: In what the faces that checkpoints of `initialise_from` were trained on may differ from the
            recipe's: `detector`, `alignment` or `low_light`.
        trunk_learning_rate_share: Factor on the learning rate of a trunk that starts from `initialise_from`.
        trainable: `all` weights; the `head`, which is what depends on the classes; or the head and `lora` adapters of
            all other layers. What is not trained stays frozen, batch statistics included.
        lora_rank: Rank of the adapters.
        head_start: Training of all that follows the backbone, before everything is trained.
        select: Epoch that is kept: the best on a `validation` part cut from the training clips, the best on `test`,
            as the literature does, or the `last`.
        select_by: `war`, `uar` or `f1`.
        also_measured: Fields of the model's configuration with which each epoch is measured again, by the name that
            the figures get in the log, such as `without_filter = { snippet_filter = false }`.
        validation_share: Share of the training clips that `validation` takes.
        trackers: Where the log goes besides `log.csv`: `tensorboard`, `wandb`, `trackio` or `mlflow`.
        compile: Whether the model is compiled.
        seed: Of all random numbers.
    """

    system: str
    data: str
    stages: tuple[tuple[int, int, float], ...]
    batch_size: int
    learning_rate: float
    preset: str = "paper"
    model: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)
    minimum_frames: int = 0
    crops: Crops | None = None
    epoch_length: int | None = None
    accumulation: int = 1
    schedule: Schedule = field(default_factory=Schedule)
    optimiser: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    decay_all: bool = False
    undecayed: tuple[str, ...] = ()
    gradient_clip: float = 0.0
    ema_decay: float = 0.0
    sampler: str = "shuffle"
    balance: float = 0.0
    face_shares: dict[str, float] = field(default_factory=dict)
    repeat_threshold: float = 0.15
    sampling: Sampling = field(default_factory=Sampling)
    augmentation: Augmentation = field(default_factory=Augmentation)
    normalisation: Normalisation = field(default_factory=Normalisation)
    initialise_from: tuple[str, ...] = ()
    starts_otherwise: tuple[str, ...] = ()
    trunk_learning_rate_share: float = 1.0
    trainable: str = "all"
    lora_rank: int = 8
    head_start: HeadStart | None = None
    select: str = "validation"
    select_by: str = "war"
    also_measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    validation_share: float = 0.1
    trackers: tuple[str, ...] = ("tensorboard",)
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"Expected `{name}` to be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        for name in ("batch_size", "accumulation", "epoch_length", "lora_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Expected `{name}` of 1 or more, got {value}.")
        for size, epochs, strength in self.stages:
            if size < 1 or epochs < 1 or strength < 0:
                raise ValueError(
                    "Expected `stages` of a picture size and a number of epochs of 1 or more and a strength of 0 or "
                    f"more, got {[size, epochs, strength]}."
                )
        unknown = [name for name in self.trackers if name not in TRACKERS]
        if unknown:
            raise ValueError(f"Expected `trackers` among {', '.join(TRACKERS)}, got {', '.join(unknown)}.")

    @property
    def num_epochs(self) -> int:
        """Number of epochs of all stages together."""
        return sum(epochs for _, epochs, _ in self.stages)

    def stage(self, epoch: int) -> tuple[int, float]:
        """Return the side of the pictures of an epoch in pixels, and the strength of their augmentation."""
        for size, epochs, strength in self.stages:
            if epoch < epochs:
                return size, strength
            epoch -= epochs
        raise ValueError(f"Expected an epoch below {self.num_epochs}, got one {epoch} beyond. Lengthen `stages`.")


def load_config(path: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """Read a recipe.

    Args:
        path: TOML file.
        settings: Changes of it; see `change_settings`.

    Raises:
        ValueError: If the file is not TOML, a key or a choice is unknown, or a needed one is missing.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} is not TOML: {error}.") from error
    where = " with ".join([path.name, *settings])
    return build_config(TrainConfig, change_settings(values, settings), where)


def change_settings(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return the values of a recipe with some of them changed.

    Args:
        values: Plain values and tables, which stay as they are.
        settings: Each `<key>=<value>`, such as `learning_rate=1e-4`, `model.depths=[1,1,1]` or `optimiser=adamw`. A
            dot leads into a table. A value is written as in TOML, but text needs no quotes.

    Raises:
        ValueError: If one has no value, or leads into something that is no table.
    """
    changed = copy.deepcopy(dict(values))
    for setting in settings:
        key, separator, text = setting.partition("=")
        *tables, name = key.strip().split(".")
        if not separator or not name:
            raise ValueError(f"Expected a setting such as learning_rate=1e-4, got {setting!r}. Write <key>=<value>.")
        place = changed
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise ValueError(f"Expected a table {table!r} for the setting {setting!r}, got {place!r}.")
        place[name] = _parse(text.strip())
    return changed


def _parse(text: str) -> Any:
    """Read a value of TOML, or text without quotes; `build_config` refuses values of another type."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def build_config(config_class: type, values: dict[str, Any], where: str) -> Any:
    """Build a dataclass of this file from plain values, tables and lists.

    Raises:
        ValueError: If a key is unknown or lacking, or a value is of another type; `where` says of what.
    """
    known = {entry.name: entry for entry in dataclasses.fields(config_class)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{where} has unknown keys {unknown}; known are {sorted(known)}.")
    lacking = sorted(
        name
        for name, entry in known.items()
        if entry.default is dataclasses.MISSING
        and entry.default_factory is dataclasses.MISSING
        and values.get(name) in (None, "", [])
    )
    if lacking:
        raise ValueError(f"{where} lacks {lacking}.")
    types_of = get_type_hints(config_class)
    return config_class(
        **{name: _convert(types_of[name], value, f"{name} of {where}") for name, value in values.items()}
    )


def _convert(expected: Any, value: Any, where: str) -> Any:
    """Turn a value of a TOML file, or of a config.json, into what a field holds."""
    if isinstance(expected, types.UnionType):  # `X | None`
        if value is None:
            return None
        expected = next(kind for kind in get_args(expected) if kind is not type(None))
    if dataclasses.is_dataclass(expected):
        if not isinstance(value, dict):
            raise ValueError(f"Expected a table for {where}, got {value!r}.")
        return build_config(expected, value, where)  # pyright: ignore[reportArgumentType]  it is a class
    origin = getattr(expected, "__origin__", expected)
    if origin is tuple:
        kinds = get_args(expected)
        if isinstance(value, str) or not isinstance(value, list | tuple):
            value = [value]
        if kinds[-1] is Ellipsis:
            return tuple(_convert(kinds[0], item, where) for item in value)
        if len(value) != len(kinds):
            raise ValueError(f"Expected {len(kinds)} values for {where}, got {value!r}.")
        return tuple(_convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, origin) or (isinstance(value, bool) and origin is not bool):
        raise ValueError(f"Expected {origin.__name__} for {where}, got {value!r}.")
    return value
