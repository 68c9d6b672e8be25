"""Predict every clip of a source, with the same result on one process and on several."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from dfer_hf.models.modeling_dfer import DferPreTrainedModel, decide
from dfer_hf.prefetch import prefetch
from training.data.batches import OrderedBatches, load_in_workers
from training.data.protocols import FrameSource, InOrderSource, Source
from training.evaluation.features import FeatureWatch, watch_features
from training.evaluation.metrics import group_indices

BATCHES_AHEAD = 2


class PredictionsError(ValueError):
    """Predictions do not fit together, or a file does not hold any; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers of one model to clips, in the order of their source.

    Args:
        names: Of the clips; unique.
        labels: Index of the true class of each clip, `(N,)`.
        logits: Of the fine classes, `(N, num_labels)`, float32.
        coarse_logits: Log-probabilities of the groups, `(N, num_groups)`, float32.
        label_names: Fine classes in order.
        groups: Coarse class to its fine classes, in order; kept in the order of `label_names`.
        persons: Who is seen in each clip, or which video a frame is of, where it is known.
        features: The input of the model's last layer for each clip, `(N, D)`, float32; see
            `training.evaluation.features`.
        coarse_first: Whether the model decides on the group first; see `dfer_hf.models.modeling_dfer.decide`.

    Raises:
        PredictionsError: If shapes, names or groups do not fit together, or an answer is not a number.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    coarse_logits: np.ndarray
    label_names: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    persons: tuple[str, ...] | None = None
    features: np.ndarray | None = None
    coarse_first: bool = False

    def __post_init__(self) -> None:
        order = {name: index for index, name in enumerate(self.label_names)}
        members = sorted(str(name) for group in self.groups.values() for name in group)
        if members != sorted(order):
            raise PredictionsError(
                f"Expected every class in exactly one group: the classes are {sorted(order)}, the groups hold "
                f"{members}."
            )
        sorted_groups = {
            str(group): tuple(sorted(map(str, names), key=order.__getitem__)) for group, names in self.groups.items()
        }
        object.__setattr__(self, "groups", sorted_groups)
        object.__setattr__(self, "logits", np.asarray(self.logits, dtype=np.float32))
        object.__setattr__(self, "coarse_logits", np.asarray(self.coarse_logits, dtype=np.float32))
        count, num_labels = len(self.names), len(self.label_names)
        expected = {"labels": (count,), "logits": (count, num_labels), "coarse_logits": (count, len(self.groups))}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise PredictionsError(f"Expected `{name}` of shape {shape}, got {getattr(self, name).shape}.")
        for name, values in (("persons", self.persons), ("features", self.features)):
            if values is not None and len(values) != count:
                raise PredictionsError(f"Expected `{name}` of {count} clips, got {len(values)}.")
        if len(set(self.names)) != count:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise PredictionsError(f"Expected every clip once, got {twice!r} twice. Fix the annotation.")
        if count and (self.labels.min() < 0 or self.labels.max() >= num_labels):
            raise PredictionsError(
                f"Expected label indices from 0 to {num_labels - 1}, got {self.labels.min()} to {self.labels.max()}."
            )
        bad = ~(np.isfinite(self.logits).all(axis=1) & np.isfinite(self.coarse_logits).all(axis=1))
        if bad.any():
            raise PredictionsError(
                f"Expected finite logits, got NaN or infinity for {int(bad.sum())} clips, the first "
                f"{self.names[int(bad.argmax())]!r}. Check the checkpoint's weights: the training may have diverged."
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits as the system gives them, `(N, num_labels)`, float64."""
        return softmax(self.logits)

    @property
    def coarse_probabilities(self) -> np.ndarray:
        """Probabilities of the groups as the system gives them, `(N, num_groups)`, float64."""
        return softmax(self.coarse_logits)

    @property
    def predicted(self) -> np.ndarray:
        """Index of the fine answer to each clip, `(N,)`, as the system decides."""
        logits = torch.from_numpy(self.logits)
        return decide(logits, self.group_of.tolist(), coarse_first=self.coarse_first).numpy()

    @property
    def coarse_predicted(self) -> np.ndarray:
        """Index of the system's own coarse answer to each clip, `(N,)`; it may contradict the fine one."""
        return self.coarse_logits.argmax(axis=1)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Coarse classes in order."""
        return tuple(self.groups)

    @cached_property
    def group_of(self) -> np.ndarray:
        """Index of each fine class's group, `(num_labels,)`."""
        return group_indices(self.label_names, dict(self.groups))

    @property
    def coarse_labels(self) -> np.ndarray:
        """Index of the group of each clip's true class, `(N,)`."""
        return self.group_of[self.labels]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits `(..., classes)` into probabilities, in float64."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def predict(
    model: DferPreTrainedModel,
    source: Source,
    *,
    batch_size: int,
    image_size: int | None = None,
    accelerator: Accelerator | None = None,
    with_features: bool = False,
    num_workers: int = 0,
) -> Predictions:
    """Predict every clip of a source with a model.

    Batches hold the same clips whatever the number of processes: chunks of `batch_size` in order, of which process r
    takes the chunks r, r + processes, …; every process gets all answers. The last bits of a result depend on its
    batch, so that this, unlike a distributed sampler, gives the same file for any number of processes.

    Args:
        model: A model of this package, on its device and not wrapped; its mode is restored afterwards.
        source: The clips. Labels are matched with the model's by name where the source has `label_names`.
        batch_size: Clips of a batch.
        image_size: Side in pixels of the pictures; the configuration's where none is given.
        accelerator: Where there are several processes; its mixed precision is used.
        with_features: Whether to keep what `training.evaluation.features` finds.
        num_workers: Processes that read the clips; with 0, a thread of this process does.

    Raises:
        PredictionsError: If the source has no clip, or one of a class that the model does not know.
    """
    _check_not_empty(source)
    rows = _answer(model, source, batch_size, image_size, accelerator, with_features, num_workers, _clip_answers)
    names = getattr(source, "names", None)
    persons = getattr(source, "persons", None)
    return Predictions(
        names=tuple(map(str, range(len(source)) if names is None else names)),
        labels=_labels_of_model(source.labels.numpy(), getattr(source, "label_names", None), model),
        logits=np.stack([row[0] for row in rows]),
        coarse_logits=np.stack([row[1] for row in rows]),
        persons=None if persons is None or None in persons else tuple(map(str, persons)),
        features=np.stack([row[2] for row in rows]) if with_features else None,
        **_classes_of(model),
    )


def predict_frames(
    model: DferPreTrainedModel,
    source: FrameSource,
    *,
    batch_size: int,
    image_size: int | None = None,
    accelerator: Accelerator | None = None,
    num_workers: int = 0,
) -> Predictions:
    """Predict every labelled frame of whole videos by a model's `frame_logits`.

    A frame that is in several places gets the mean of their probabilities, as in `VideoPredictor`. Frames are
    named `<video>/<index from 0>`, their `persons` are the videos; groups are summed from the fine classes.

    Args:
        model: As in `predict`.
        source: The videos.
        batch_size: Windows of a batch.
        image_size: As in `predict`.
        accelerator: As in `predict`.
        num_workers: As in `predict`.

    Raises:
        PredictionsError: If no frame has a label, a labelled frame is in no window, or the system does not know its
            class.
    """
    _check_not_empty(source)
    rows = _answer(model, source, batch_size, image_size, accelerator, False, num_workers, _frame_answers)
    num_labels = len(model.config.label_names)
    sums = [np.zeros((len(labels), num_labels)) for labels in source.frame_labels]
    places = [np.zeros(len(labels), dtype=int) for labels in source.frame_labels]
    for (logits,), video, frames in zip(rows, source.window_videos.tolist(), source.window_frames, strict=True):
        np.add.at(sums[video], frames.numpy(), softmax(logits))
        np.add.at(places[video], frames.numpy(), 1)
    names, persons, labels, probabilities = [], [], [], []
    for video, name in enumerate(source.names):
        labelled = np.flatnonzero(source.frame_labels[video].numpy() >= 0)
        unseen = labelled[places[video][labelled] == 0]
        if len(unseen):
            raise PredictionsError(
                f"Expected every labelled frame of {name!r} in a window, but {len(unseen)} are in none, the first "
                f"frame {unseen[0]}. Cut the windows so that they cover the video."
            )
        names += [f"{name}/{frame}" for frame in labelled]
        persons += [name] * len(labelled)
        labels.append(source.frame_labels[video].numpy()[labelled])
        probabilities.append(sums[video][labelled] / places[video][labelled, None])
    if not names:
        raise PredictionsError("Expected frames with a label, found none. Check the annotation of the split.")
    fine = np.concatenate(probabilities)
    classes = _classes_of(model)
    membership = np.eye(len(classes["groups"]))[group_indices(classes["label_names"], classes["groups"])]
    tiny = np.finfo(np.float32).tiny
    return Predictions(
        names=tuple(names),
        labels=_labels_of_model(np.concatenate(labels), source.label_names, model),
        logits=np.log(fine.clip(tiny)),
        coarse_logits=np.log((fine @ membership).clip(tiny)),
        persons=tuple(persons),
        **classes,
    )


@contextmanager
def _evaluating(model: DferPreTrainedModel, image_size: int) -> Iterator[None]:
    """Switch the model to evaluation at a picture size while the context lasts."""
    was_training, size_before = model.training, model.config.image_size
    model.eval()
    model.config.image_size = image_size
    try:
        with torch.inference_mode():
            yield
    finally:
        model.config.image_size = size_before
        model.train(was_training)


def _answer(
    model: DferPreTrainedModel,
    source: Source | FrameSource,
    batch_size: int,
    image_size: int | None,
    accelerator: Accelerator | None,
    with_features: bool,
    num_workers: int,
    read,
) -> list[tuple[np.ndarray, ...]]:
    """Compute the answers to every index of the source, in order, on every process."""
    image_size = image_size or model.config.image_size
    rank, num_processes = (accelerator.process_index, accelerator.num_processes) if accelerator is not None else (0, 1)
    # Whole clips are predicted one by one and part by part, since each has a length of its own.
    in_order = getattr(source, "in_order", torch.zeros(len(source), dtype=torch.bool))
    chunks = [chunk for chunk in (~in_order).nonzero()[:, 0].split(batch_size) if len(chunk)]
    chunks = chunks[rank::num_processes]
    batches = zip(chunks, load_in_workers(OrderedBatches(source, chunks, image_size), num_workers), strict=True)
    answered: list[tuple[int, tuple[np.ndarray, ...]]] = []
    watching = watch_features(model) if with_features else nullcontext()
    autocast = accelerator.autocast() if accelerator is not None else nullcontext()
    with _evaluating(model, image_size), watching as watch, autocast:
        for chunk, pixel_values in prefetch(batches, BATCHES_AHEAD):
            output = model(pixel_values_videos=pixel_values.to(model.device))
            answered += zip(chunk.tolist(), read(output, watch, len(chunk)), strict=True)
        whole = cast(InOrderSource, source)
        for index in in_order.nonzero()[rank::num_processes, 0].tolist():
            parts = prefetch(whole.parts(index, image_size), BATCHES_AHEAD)
            encoded = torch.cat([model.encode_frames(part.to(model.device)) for part in parts], dim=1)
            output = model.answer_encoded(encoded, frames_per_second=whole.frames_per_second(index))
            answered += [(index, row) for row in read(output, watch, 1)]
    if num_processes > 1:
        answered = gather_object(answered)
    return [row for _, row in sorted(answered, key=lambda entry: entry[0])]


def _clip_answers(output: Any, watch: FeatureWatch | None, batch_size: int) -> list[tuple[np.ndarray, ...]]:
    parts = [output.logits, output.coarse_logits] + ([] if watch is None else [watch.take(batch_size)])
    return list(zip(*(part.float().cpu().numpy() for part in parts), strict=True))


def _frame_answers(output: Any, _watch: FeatureWatch | None, _batch_size: int) -> list[tuple[np.ndarray, ...]]:
    return [(logits,) for logits in output.frame_logits.float().cpu().numpy()]


def _check_not_empty(source: Source | FrameSource) -> None:
    if not len(source):
        raise PredictionsError("Expected clips to predict, got a source without any. Check split and cache.")


def _classes_of(model: DferPreTrainedModel) -> dict[str, Any]:
    config = model.config
    groups = {name: tuple(config.groups[name]) for name in config.group_names or config.groups}
    return {"label_names": tuple(config.label_names), "groups": groups, "coarse_first": config.coarse_first}


def _labels_of_model(labels: np.ndarray, names: Sequence[str] | None, model: DferPreTrainedModel) -> np.ndarray:
    """Map labels in the order of `names`, which is the model's where it is None, to the model's order."""
    known = model.config.label_names
    if names is None:
        return labels.astype(np.int64)
    unknown = sorted({str(names[index]) for index in np.unique(labels)} - set(known))
    if unknown:
        raise PredictionsError(
            f"Expected clips of {', '.join(known)}, the classes of the checkpoint, but some show "
            f"{', '.join(unknown)}. Choose a checkpoint trained on this corpus."
        )
    index_of = [known.index(str(name)) if str(name) in known else -1 for name in names]
    return np.array(index_of, dtype=np.int64)[labels]
