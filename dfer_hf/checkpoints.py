"""Find checkpoints by name: shipped ones, folders, repositories of the Hub.

Torch is imported only when one is loaded into it.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

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
MANIFEST = "onnx.json"
"""Stands beside ONNX graphs in the place of a configuration."""
FILES = [CONFIG, PROCESSOR, WEIGHTS, "model-*.safetensors"]
ADVICE = "Save or download it again."
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
        if not any((Path(name_or_path) / file).is_file() for file in (CONFIG, MANIFEST)):
            raise CheckpointError(f"Expected a checkpoint with a {CONFIG} in the folder {Path(name_or_path).name!r}.")
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
    device: "str | torch.device" = "cpu",
    dtype: "torch.dtype | None" = None,
) -> LoadedCheckpoint:
    """Load a checkpoint, and refuse one that would answer from noise.

    Only data is read, into this package's own classes: no code of a checkpoint runs, and no other repository that it
    names is fetched.

    Args:
        name_or_path: A checkpoint that ships with the package, a folder, or a Hub id.
        revision: Of the Hub repository.
        token: For a private Hub repository; the one of `hf auth login` where none is given.
        device: Where the model goes.
        dtype: What weights become, whatever they are stored as; float32 where it is left out.

    Raises:
        CheckpointError: If it cannot be found or read, if tensors are missing, unexpected, of another shape or not
            finite, if a field is unknown, or if model, configuration and processor contradict one another.
    """
    import torch

    from .checkpoint_reading import read_model, read_processor

    found = find_checkpoint(name_or_path)
    folder, name = fetch_checkpoint(found, FILES, revision=revision, token=token)
    dtype = dtype or torch.float32
    # Weights made in the caller's inference mode could be neither trained nor explained outside of it.
    with torch.inference_mode(False):
        with using(name):
            model = read_model(folder)
            processor = read_processor(folder, model)
        torch.nn.Module.to(model, device, dtype)
    model.name_or_path = model.config.name_or_path = found
    model.config.dtype = dtype
    return LoadedCheckpoint(model, processor, name)


def fetch_checkpoint(found: str, files: Sequence[str], *, revision: str, token: str | bool | None) -> tuple[Path, str]:
    """Get the folder of a checkpoint, downloaded where it is on the Hub, and what predictions call it.

    Args:
        found: What `find_checkpoint` returned.
        files: Which to download, as names or patterns.
        revision: Of the Hub repository.
        token: For a private Hub repository.

    Raises:
        CheckpointError: If it cannot be downloaded.
    """
    if Path(found).is_dir():
        return Path(found), Path(found).resolve().name
    from huggingface_hub import snapshot_download

    with using(found), expecting(f"a folder, or a Hub repository that the token opens, at {revision!r}"):
        folder = snapshot_download(found, revision=revision, token=token, allow_patterns=list(files))
    return Path(folder), found


@contextmanager
def using(name: str) -> Iterator[None]:
    """Say which checkpoint it is that cannot be used."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"The checkpoint {name!r} cannot be used: {error}") from error


@contextmanager
def expecting(what: str, *further: type[Exception]) -> Iterator[None]:
    """Turn what impossible files and values make libraries raise, and further errors, into one sentence.

    Raises:
        CheckpointError: With it.
    """
    try:
        yield
    except (ImportError, OSError, *_NONSENSE, *further) as error:
        said = shorten(str(error), width=400, placeholder=" …").rstrip(".")
        raise CheckpointError(f"expected {what}, got {type(error).__name__}: {said}. {ADVICE}") from error
