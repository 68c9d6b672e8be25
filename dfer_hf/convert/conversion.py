"""Turn the tensors of a published network into a model of this package, and refuse those that do not fit whole."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from .. import systems
from ..checkpoint_reading import tensor_faults
from ..faces.video_processing_dfer import DferVideoProcessor
from ..models.modeling_dfer import DferPreTrainedModel
from .convert_pickle import ConversionError
from .sources import Source, Tensors, without_wrapper

COMPUTED = (".num_batches_tracked", ".relative_position_index")
"""End the names of what files may lack: counters that no answer needs, and places in Swin's windows."""


class KeysError(ConversionError):
    """Tensors are missing, unexpected, of another shape, or not finite."""


@dataclass(frozen=True)
class Converted:
    """A model of this package with weights of a published one.

    Args:
        model: With the weights.
        processor: Prepares its clips as the published code does, of faces that are aligned as here.
        left_out: Names of tensors that have no place here.
        drawn: Parts that have random weights, as the file has none for them.
    """

    model: DferPreTrainedModel
    processor: DferVideoProcessor
    left_out: tuple[str, ...]
    drawn: tuple[str, ...]

    @property
    def has_new_head(self) -> bool:
        """Whether the classifier is one of them."""
        return "classifier" in self.drawn


def convert(source: Source, tensors: Tensors, labels: Sequence[str] | None = None) -> Converted:
    """Build a model of this package from tensors of a published network.

    Args:
        source: The network.
        tensors: By their names there.
        labels: Names of the classes in the order of the weights; those of the system where they are left out.

    Raises:
        KeysError: If tensors are missing, unexpected, of another shape, or not finite.
        ConversionError: If the tensors are of another network, or the classes do not fit.
    """
    tensors = without_wrapper(tensors)
    model_class: Any = systems()[source.system]
    try:
        fields = source.fields(tensors)
    except LookupError as error:
        raise KeysError(
            f"Expected weights of {source.origin}, but there is no tensor {str(error.args[0])!r}. Look whether the "
            "file is of another network."
        ) from error
    labels = list(labels or model_class.config_class().label_names)
    classes: dict[str, Any] = {"id2label": dict(enumerate(labels))}
    if source.put_first:
        # A net of its own classifies; groups are for the ensemble.
        classes["groups"] = {label: [label] for label in labels}
    try:
        config = model_class.config_class(**fields | classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = model_class(config)
    except (ValueError, TypeError, RuntimeError, StrictDataclassError) as error:
        raise ConversionError(f"Expected sizes of {source.origin}, got {fields}: {error}") from error
    left_out = [name for name in tensors if re.fullmatch(source.left_out, name)]
    renamed, strangers = _rename(source, {name: tensors[name] for name in tensors if name not in left_out}, fields)
    has_new_head = source.may_lack_head and _lacks_head(source, renamed, len(labels))
    if has_new_head:
        left_out += [name for name, (ours, _) in renamed.items() if ours.startswith(source.head)]
        renamed = {name: pair for name, pair in renamed.items() if not pair[0].startswith(source.head)}
    found = source.adapt(dict(renamed.values()))
    state = {source.put_first + name: tensor for name, tensor in found.items()}
    # What our names of each part begin with.
    drawn = {part: f"{part}." for part in source.lacks}
    if has_new_head:
        drawn["classifier"] = source.put_first + source.head
    _load(model, state, strangers, tuple(drawn.values()))
    mean, std = source.normalisation
    processor = DferVideoProcessor(
        size={"height": config.image_size, "width": config.image_size},
        num_frames=config.num_frames,
        image_mean=list(mean),
        image_std=list(std),
        frames_per_segment=source.frames_per_segment,  # pyright: ignore[reportCallIssue]  its own fields
        every_frame=model_class.reads_every_frame,  # pyright: ignore[reportCallIssue]
    )
    return Converted(model.eval(), processor, tuple(left_out), tuple(drawn))


def _rename(
    source: Source, tensors: Tensors, fields: dict[str, Any]
) -> tuple[dict[str, tuple[str, torch.Tensor]], list[str]]:
    """Their name to ours and the tensor; and the names that the network does not have."""
    rename = source.rename(fields)
    names = {name: _our_name(rename, name) for name in tensors}
    renamed = {
        name: (ours, tensors[name].float() if tensors[name].is_floating_point() else tensors[name])
        for name, ours in names.items()
        if ours is not None
    }
    return renamed, [name for name, ours in names.items() if ours is None]


def _our_name(rename: Callable[[str], str], name: str) -> str | None:
    try:
        return rename(name)
    except (LookupError, ValueError):
        return None


def _lacks_head(source: Source, renamed: dict[str, tuple[str, torch.Tensor]], num_labels: int) -> bool:
    rows = [tensor.shape[0] for ours, tensor in renamed.values() if ours.startswith(source.head)]
    return not rows or any(number != num_labels for number in rows)


def _load(model: DferPreTrainedModel, state: Tensors, strangers: list[str], drawn: tuple[str, ...]) -> None:
    expected = model.state_dict()
    optional = {name for name in expected if name.endswith(COMPUTED) or name.startswith(drawn)}
    said = tensor_faults(state, expected, optional=optional, unexpected=strangers)
    if said:
        raise KeysError(
            f"Expected the tensors of a {model.config.model_type} as its published code names them, got tensors "
            f"{said}. Look whether the file is of another network or version, and name the classes with --labels "
            "where their number is another."
        )
    model.load_state_dict(state, strict=False)
