"""Write a checkpoint's folder as its Hub repository looks."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.video_processing_utils import BaseVideoProcessor

WEIGHTS = "model.safetensors"
MODEL_CONFIG = "config.json"
PROCESSOR_CONFIG = "video_preprocessor_config.json"
CARD = "README.md"


def export_checkpoint(model: PreTrainedModel, processor: BaseVideoProcessor, folder: Path) -> None:
    """Write configuration, processor and half-precision weights.

    The configuration keeps float32 as the type to load into: half precision is for the download, and a CPU is slow
    with it.

    Args:
        model: The system.
        processor: Its video processor.
        folder: Where to; made if missing.
    """
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    _write(model, processor, folder, weights, auto_map={})


def export_repository(
    model: PreTrainedModel, processor: BaseVideoProcessor, folder: Path, *, card: Path | None = None
) -> list[Path]:
    """Write a folder that loads where this package is not installed, with `trust_remote_code=True`.

    Besides the checkpoint it holds the code: the files of the system and of the processor, and the siblings they
    import. Weights lose nothing: they are stored in half precision only where that holds every one of them exactly,
    as it does those of a checkpoint that came in half precision.

    Args:
        model: The system.
        processor: Its video processor.
        folder: Where to; made if missing.
        card: A README.md to go along.

    Returns:
        The files, sorted.

    Raises:
        ValueError: If the folder holds anything else; a README.md and hidden files may be there.
    """
    classes = {
        "AutoConfig": type(model.config),
        "AutoModel": type(model),
        "AutoModelForVideoClassification": type(model),
        "AutoVideoProcessor": type(processor),
    }
    auto_map = {auto: f"{Path(inspect.getfile(ours)).stem}.{ours.__name__}" for auto, ours in classes.items()}
    code = code_files(*classes.values())
    names = {MODEL_CONFIG, PROCESSOR_CONFIG, WEIGHTS, CARD, *(path.name for path in code)}
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    strangers = sorted(name for name in present - names if not name.startswith("."))
    if strangers:
        raise ValueError(
            f"Expected a new folder, or one of an earlier export, but {str(folder)!r} holds "
            f"{', '.join(strangers[:5])}. Name another folder, or remove them."
        )
    _write(model, processor, folder, _smallest_exact(model.state_dict()), auto_map)
    for path in code:
        shutil.copyfile(path, folder / path.name)
    if card is not None:
        shutil.copyfile(card, folder / CARD)
    return sorted(folder / name for name in names if (folder / name).is_file())


def code_files(*classes: type) -> list[Path]:
    """The files that define classes, and the siblings those import, sorted; read as transformers reads them."""
    files: set[Path] = set()
    for ours in classes:
        defined = inspect.getfile(ours)
        files |= {Path(defined), *map(Path, get_relative_import_files(defined))}
    return sorted(files)


def _smallest_exact(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors in half precision if that changes none of their values, else as they are."""
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    is_exact = all(torch.equal(halves[name].to(tensor.dtype), tensor) for name, tensor in state.items())
    return halves if is_exact else state


def _write(
    model: PreTrainedModel,
    processor: BaseVideoProcessor,
    folder: Path,
    weights: dict[str, torch.Tensor],
    auto_map: dict[str, str],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)
    for file in (folder / MODEL_CONFIG, folder / PROCESSOR_CONFIG):
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        content.pop("_name_or_path", None)
        content.pop("auto_map", None)
        if auto_map:
            content["auto_map"] = auto_map
        file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
