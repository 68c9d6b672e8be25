"""Read the folder of a checkpoint into a model and its processor, and refuse one that is not whole."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load

from .checkpoints import ADVICE, CONFIG, FILES, PROCESSOR, WEIGHTS, CheckpointError, expecting
from .faces.detection import one_thread
from .faces.video_processing_dfer import DferVideoProcessor
from .models.modeling_dfer import DferPreTrainedModel
from .registration import imported, stand_in, system_configs


def read_model(folder: Path) -> DferPreTrainedModel:
    """Read configuration and weights, in evaluation.

    Raises:
        CheckpointError: If they cannot be read, or do not fit each other.
    """
    content = _read_json(folder / CONFIG)
    systems = {config.model_type: (name, config) for name, config in system_configs().items()}
    model_type = str(content.get("model_type"))
    _expect(model_type in systems, f"a model_type of this package ({', '.join(systems)})", repr(model_type))
    system, config_class = systems[model_type]
    known = {"model_type", *config_class.former_fields, *(field.name for field in fields(config_class))}
    _refuse_unknown(content.keys() - known, CONFIG)
    with _reading(f"a {CONFIG} that makes a {model_type}"):
        model_class: Any = imported(stand_in(system, config_class))
        config: Any = config_class(**content)
        with torch.device("meta"):
            model = model_class(config)
    expected = model.state_dict()
    name, architectures = model_class.__name__, content.get("architectures")
    _expect(architectures in (None, [name]), f"architectures to be [{name!r}] in {CONFIG}", architectures)
    with _reading("weights that safetensors can read"):
        files = [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else sorted(folder.glob(FILES[-1]))
        # From bytes: those of `load_file` are the file itself, and change when somebody writes to it.
        stored = {name: tensor for file in files for name, tensor in load(file.read_bytes()).items()}
    others = [path.name for path in folder.iterdir() if path.suffix not in (".json", ".md", ".py")]
    _expect(bool(files), f"weights in {WEIGHTS}, which unlike a pickle runs no code", _some(others) or "none")
    found = tensor_faults(stored, expected)
    _expect(not found, f"the tensors of a {model_type} with this {CONFIG}, all finite", f"tensors {found}")
    # As every tensor is there, this is what `from_pretrained` does, without half a second of rules for other models.
    model.load_state_dict(stored, assign=True)
    return model.eval()


def tensor_faults(
    stored: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    *,
    optional: Collection[str] = (),
    unexpected: Collection[str] = (),
) -> str:
    """Say what keeps tensors from being those of a model; nothing where they are.

    Args:
        stored: By name.
        expected: Those of the model.
        optional: Names that may be missing.
        unexpected: Names of further tensors that have no place.
    """
    with one_thread():
        # A sum is finite if all of its terms are, and takes a third of the time.
        not_finite = [key for key, part in stored.items() if not part.sum(dtype=torch.float64).isfinite()]
    faults = {
        "missing": expected.keys() - stored.keys() - set(optional),
        "unexpected": {*unexpected, *(stored.keys() - expected.keys())},
        "of another shape": [
            f"{key} of {tuple(stored[key].shape)}, not {tuple(expected[key].shape)}"
            for key in expected.keys() & stored.keys()
            if stored[key].shape != expected[key].shape
        ],
        "NaN or infinite": not_finite,
    }
    return "; ".join(f"{fault}: {_some(names)}" for fault, names in faults.items() if names)


def read_processor(folder: Path, model: DferPreTrainedModel) -> DferVideoProcessor:
    """Read the video processor of a model.

    Raises:
        CheckpointError: If it cannot be read, or makes other frames than the model takes.
    """
    content, config, usual = _read_json(folder / PROCESSOR), model.config, DferVideoProcessor().to_dict()
    _refuse_unknown(content.keys() - usual.keys() - DferVideoProcessor.valid_kwargs.__annotations__.keys(), PROCESSOR)
    # A corpus' own crops are what only prepared corpora have, and what their models are measured on.
    choices = {"video_processor_type": [DferVideoProcessor.__name__], "alignment": ["arcface_112", "corpus"]}
    for name in sorted(content.keys() & usual.keys()):
        value, likes = content[name], choices.get(name, [usual[name]])
        fits = value in likes if name in choices else _kind(value) == _kind(usual[name])
        _expect(fits, f"{name} in {PROCESSOR} to be like {' or '.join(map(repr, likes))}", repr(value))
    with _reading(f"a {PROCESSOR} that makes frames"):
        processor: Any = DferVideoProcessor.from_dict(content)
        num_frames, seconds = len(processor.sampling.indices(1)), processor.window_seconds
        greys = torch.arange(256, dtype=torch.uint8).repeat(1, 3, 256, 1)
        frame = processor(greys, do_crop_faces=False, return_tensors="pt")["pixel_values_videos"][0, 0]
    _expect(seconds > 0, f"window_seconds above 0 in {PROCESSOR}", seconds)
    fits = model.takes_any_length or num_frames == config.num_frames
    _expect(fits, f"a processor that takes {config.num_frames} frames, as {CONFIG} has it", processor.sampling)
    shape = (config.num_channels, config.image_size, config.image_size)
    made = f"{tuple(frame.shape)} with values from {frame.min():g} to {frame.max():g}"
    # From black to white it is 4 or so, however the corpus is normalised.
    fits = frame.shape == shape and 0.1 < float(frame.max() - frame.min()) < 50
    _expect(fits, f"a processor that makes frames of {shape} around 0, as {CONFIG} has it", made)
    return processor


def _read_json(file: Path) -> dict[str, Any]:
    with _reading(f"named fields as JSON in {file.name}"):
        content = json.loads(file.read_text(encoding="utf-8"))
        content.pop("auto_map", None)
    return content


def _kind(value: object) -> object:
    """What JSON calls a type, which knows one kind of number and one of list."""
    kinds = (bool, int | float, str, list | tuple, dict)
    return next((kind for kind in kinds if isinstance(value, kind)), None)


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _expect(holds: bool, what: str, got: object, advice: str = ADVICE) -> None:
    if not holds:
        raise CheckpointError(f"expected {what}, got {got}. {advice}")


def _refuse_unknown(names: Collection[str], file: str) -> None:
    _expect(not names, f"known fields in {file}", _some(names), "Remove them, or update dfer_hf.")


@contextmanager
def _reading(what: str) -> Iterator[None]:
    with expecting(what, SafetensorError, StrictDataclassError):
        yield
