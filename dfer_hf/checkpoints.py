"""Find checkpoints by name (shipped ones, folders, repositories of the Hub), and load only those that are whole."""

import json
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load

from .registration import imported, stand_in, system_configs

if TYPE_CHECKING:
    from .faces.video_processing_dfer import DferVideoProcessor
    from .models.modeling_dfer import DferPreTrainedModel

DEFAULT_CHECKPOINT = "dfer-aen-small"
RENAMED = {
    "dfer-frame-small": "dfer-frame-resnet-small",
    "dfer-nr-small": "dfer-nr-dfernet-small",
    "dfer-keypoint-small": "dfer-keypoint-gcn-small",
}
"""Names of shipped checkpoints up to version 0.1, which work in version 0.2 and no longer in 0.3."""
CONFIG, PROCESSOR, WEIGHTS = "config.json", "video_preprocessor_config.json", "model.safetensors"
CARD = "README.md"
FILES = [CONFIG, PROCESSOR, WEIGHTS, "model-*.safetensors"]
_ADVICE = "Save or download it again."
# What values that make no sense raise, here and in the libraries.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class CheckpointError(ValueError):
    """A checkpoint that cannot be found, or whose answers would mean nothing."""


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A model in evaluation mode, its video processor, and what predictions call the two."""

    model: "DferPreTrainedModel"
    processor: "DferVideoProcessor"
    name: str


def shipped_folder(name: str) -> Path:
    """Folder of the repository, such as `examples`: inside the package when installed, beside it otherwise."""
    package = Path(__file__).resolve().parent
    packaged = package / name
    return packaged if packaged.is_dir() else package.parent / name


def shipped_checkpoints() -> dict[str, Path]:
    """Names and folders of the checkpoints with weights that came with this installation."""
    weights = sorted(shipped_folder("model_cards").glob("*/model.safetensors"))
    return {path.parent.name: path.parent for path in weights}


def find_checkpoint(name_or_path: str | Path) -> str:
    """Resolve a shipped name, a folder or a Hub id to what `from_pretrained` takes.

    Raises:
        CheckpointError: If it is none of the three.
    """
    shipped = shipped_checkpoints()
    if str(name_or_path) in RENAMED and not Path(name_or_path).exists():
        new_name = RENAMED[str(name_or_path)]
        warnings.warn(f"{name_or_path} is now called {new_name}. Write the new name.", FutureWarning, stacklevel=2)
        name_or_path = new_name
    if str(name_or_path) in shipped:
        return str(shipped[str(name_or_path)])
    if Path(name_or_path).is_dir():
        if not (Path(name_or_path) / CONFIG).is_file():
            raise CheckpointError(
                f"Expected a checkpoint with a config.json in the folder {Path(name_or_path).name!r}."
            )
        return str(name_or_path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(name_or_path)):
        return str(name_or_path)
    raise CheckpointError(
        f"Unknown model {str(name_or_path)!r}: expected one of {', '.join(shipped) or 'no shipped checkpoints'}, "
        "a folder with a checkpoint, or a Hub id such as user/name."
    )


def load_checkpoint(
    name_or_path: str | Path,
    *,
    revision: str = "main",
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LoadedCheckpoint:
    """Load a checkpoint, and refuse one that would answer from noise.

    Only data is read, into this package's own classes: no code of a checkpoint runs, and no other repository that it
    names is fetched.

    Args:
        name_or_path: A checkpoint that ships with the package, a folder, or a Hub id.
        revision: Of the Hub repository.
        token: For a private Hub repository; the one of `hf auth login` where none is given.
        device: Where the model goes.
        dtype: What weights become, whatever they are stored as.

    Raises:
        CheckpointError: If it cannot be found or read, if tensors are missing, unexpected, of another shape or not
            finite, if a field is unknown, or if model, configuration and processor contradict one another.
    """
    found = find_checkpoint(name_or_path)
    is_local = Path(found).is_dir()
    name = Path(found).resolve().name if is_local else found
    # Weights made in the caller's inference mode could be neither trained nor explained outside of it.
    with torch.inference_mode(False):
        try:
            with _expecting(f"a folder, or a Hub repository that the token opens, at {revision!r}"):
                options = {"revision": revision, "token": token, "allow_patterns": FILES}
                folder = Path(found if is_local else snapshot_download(found, **options))
            model = _load_model(folder)
            processor = _load_processor(folder, model)
        except CheckpointError as error:
            raise CheckpointError(f"The checkpoint {name!r} cannot be used: {error}") from error
        torch.nn.Module.to(model, device, dtype)
    model.name_or_path = model.config.name_or_path = found
    model.config.dtype = dtype
    return LoadedCheckpoint(model, processor, name)


def _load_model(folder: Path) -> "DferPreTrainedModel":
    from .faces.detection import one_thread

    content = _read_json(folder / CONFIG)
    systems = {config.model_type: (name, config) for name, config in system_configs().items()}
    model_type = str(content.get("model_type"))
    _expect(model_type in systems, f"a model_type of this package ({', '.join(systems)})", repr(model_type))
    system, config_class = systems[model_type]
    known = {"model_type", *config_class.former_fields, *(field.name for field in fields(config_class))}
    _refuse_unknown(content.keys() - known, CONFIG)
    with _expecting(f"a {CONFIG} that makes a {model_type}"):
        model_class: Any = imported(stand_in(system, config_class))
        config: Any = config_class(**content)
        with torch.device("meta"):
            model = model_class(config)
    expected = model.state_dict()
    name, architectures = model_class.__name__, content.get("architectures")
    _expect(architectures in (None, [name]), f"architectures to be [{name!r}] in {CONFIG}", architectures)
    with _expecting("weights that safetensors can read"):
        files = [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else sorted(folder.glob(FILES[-1]))
        # From bytes: those of `load_file` are the file itself, and change when somebody writes to it.
        stored = {name: tensor for file in files for name, tensor in load(file.read_bytes()).items()}
    others = [path.name for path in folder.iterdir() if path.suffix not in (".json", ".md", ".py")]
    _expect(bool(files), f"weights in {WEIGHTS}, which unlike a pickle runs no code", _some(others) or "none")
    with one_thread():
        # A sum is finite if all of its terms are, and takes a third of the time.
        not_finite = [key for key, part in stored.items() if not part.sum(dtype=torch.float64).isfinite()]
    faults = {
        "missing": expected.keys() - stored.keys(),
        "unexpected": stored.keys() - expected.keys(),
        "of another shape": [
            f"{key} of {tuple(stored[key].shape)}, not {tuple(expected[key].shape)}"
            for key in expected.keys() & stored.keys()
            if stored[key].shape != expected[key].shape
        ],
        "NaN or infinite": not_finite,
    }
    found = "; ".join(f"{fault}: {_some(names)}" for fault, names in faults.items() if names)
    _expect(not found, f"the tensors of a {model_type} with this {CONFIG}, all finite", f"tensors {found}")
    # As every tensor is there, this is what `from_pretrained` does, without half a second of rules for other models.
    model.load_state_dict(stored, assign=True)
    return model.eval()


def _load_processor(folder: Path, model: "DferPreTrainedModel") -> "DferVideoProcessor":
    from .faces.video_processing_dfer import DferVideoProcessor

    content, config, usual = _read_json(folder / PROCESSOR), model.config, DferVideoProcessor().to_dict()
    _refuse_unknown(content.keys() - usual.keys() - DferVideoProcessor.valid_kwargs.__annotations__.keys(), PROCESSOR)
    # A corpus' own crops are what only prepared corpora have, and what their models are measured on.
    choices = {"video_processor_type": [DferVideoProcessor.__name__], "alignment": ["arcface_112", "corpus"]}
    for name in sorted(content.keys() & usual.keys()):
        value, likes = content[name], choices.get(name, [usual[name]])
        fits = value in likes if name in choices else _kind(value) == _kind(usual[name])
        _expect(fits, f"{name} in {PROCESSOR} to be like {' or '.join(map(repr, likes))}", repr(value))
    with _expecting(f"a {PROCESSOR} that makes frames"):
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
    with _expecting(f"named fields as JSON in {file.name}"):
        content = json.loads(file.read_text(encoding="utf-8"))
        content.pop("auto_map", None)
    return content


def _kind(value: object) -> object:
    """What JSON calls a type, which knows one kind of number and one of list."""
    kinds = (bool, int | float, str, list | tuple, dict)
    return next((kind for kind in kinds if isinstance(value, kind)), None)


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _expect(holds: bool, what: str, got: object, advice: str = _ADVICE) -> None:
    if not holds:
        raise CheckpointError(f"expected {what}, got {got}. {advice}")


def _refuse_unknown(names: Collection[str], file: str) -> None:
    _expect(not names, f"known fields in {file}", _some(names), "Remove them, or update dfer_hf.")


@contextmanager
def _expecting(what: str) -> Iterator[None]:
    """Turn what impossible files and values make libraries raise into one sentence."""
    try:
        yield
    except (SafetensorError, StrictDataclassError, ImportError, OSError, *_NONSENSE) as error:
        said = shorten(str(error), width=400, placeholder=" …").rstrip(".")
        raise CheckpointError(f"expected {what}, got {type(error).__name__}: {said}. {_ADVICE}") from error
