"""Write a checkpoint's folder as its Hub repository looks."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.video_processing_utils import BaseVideoProcessor


def export_checkpoint(model: PreTrainedModel, processor: BaseVideoProcessor, folder: Path) -> None:
    """Write configuration, processor and half-precision weights.

    The configuration keeps float32 as the type to load into: half precision is for the download, and a CPU is slow
    with it.

    Args:
        model: The system.
        processor: Its video processor.
        folder: Where to; made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    weights = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor.contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
