"""Write a checkpoint's folder as its Hub repository looks."""

import inspect
import json
import shutil
from collections.abc import Set
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.video_processing_utils import BaseVideoProcessor

from ..checkpoints import CARD, CONFIG, PROCESSOR, WEIGHTS
from ..models.hub_code import code_files
from .card import RESULTS

COMPANIONS = ("*.png", RESULTS, "run.json")
"""What goes along with a card: the drawings in it, the figures it shows, and how the model was trained."""


def export_checkpoint(model: PreTrainedModel, processor: BaseVideoProcessor, folder: Path) -> None:
    """Write configuration, processor and half-precision weights, without code.

    The configuration keeps float32 as the type to load into: half precision is for the download, and a CPU is slow
    with it.

    Args:
        model: The system.
        processor: Its video processor.
        folder: Where to; made if missing.
    """
    _save_weights(model, _halves(model), folder)
    for saved, file in ((model.config, folder / CONFIG), (processor, folder / PROCESSOR)):
        content = json.loads(saved.to_json_string())
        content.pop("auto_map", None)
        file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def export_repository(
    model: PreTrainedModel, processor: BaseVideoProcessor, folder: Path, *, card: Path | None = None
) -> list[Path]:
    """Write a folder that loads where this package is not installed, with `trust_remote_code=True`.

    Weights lose nothing: they are stored in half precision only where that holds every one of them exactly, as it does
    those of a checkpoint that came in half precision.

    Args:
        model: The system.
        processor: Its video processor.
        folder: Where to; made if missing.
        card: A README.md to go along, with the drawings and the results beside it.

    Returns:
        The files, sorted.

    Raises:
        ValueError: If the folder holds anything else; a README.md and hidden files may be there.
    """
    code = code_files(*(Path(inspect.getfile(type(part))) for part in (model.config, model, processor)))
    companions = [path for name in COMPANIONS for path in card.parent.glob(name)] if card is not None else []
    names = {CONFIG, PROCESSOR, WEIGHTS, CARD, *(path.name for path in (*code, *companions))}
    refuse_strangers(folder, names)
    weights, halves = model.state_dict(), _halves(model)
    is_exact = all(torch.equal(halves[name].to(tensor.dtype), tensor) for name, tensor in weights.items())
    _save_weights(model, halves if is_exact else weights, folder)
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    if card is not None:
        for path, name in [(card, CARD), *((companion, companion.name) for companion in companions)]:
            shutil.copyfile(path, folder / name)
    return sorted(folder / name for name in names if (folder / name).is_file())


def refuse_strangers(folder: Path, names: Set[str]) -> None:
    """Refuse a folder that holds other files than an export writes; hidden ones may be there.

    Raises:
        ValueError: Naming some of them.
    """
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    strangers = sorted(name for name in present - names if not name.startswith("."))
    if strangers:
        raise ValueError(
            f"Expected a new folder, or one of an earlier export, but {str(folder)!r} holds "
            f"{', '.join(strangers[:5])}. Name another folder, or remove them."
        )


def _halves(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _save_weights(model: PreTrainedModel, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Write weights, and have the configuration name the class they belong to and the type to load them into."""
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)
    model.config.architectures, model.config.dtype = [type(model).__name__], torch.float32
