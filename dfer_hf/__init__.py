"""Dynamic facial expression recognition: published systems as Hugging Face models, from video file to explanation."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from . import models, registration
from .checkpoints import shipped_checkpoints

if TYPE_CHECKING:
    from .faces.video_processing_dfer import DferVideoProcessor
    from .prediction import ClipPrediction, FacePrediction, FramePrediction, Scores
    from .predictor import VideoPredictor

__version__ = "0.1.0"

__all__ = [
    "ClipPrediction",
    "DferVideoProcessor",
    "FacePrediction",
    "FramePrediction",
    "Scores",
    "VideoPredictor",
    "shipped_checkpoints",
    "systems",
]

_IMPORTED_WHEN_USED = {
    "ClipPrediction": "prediction",
    "DferVideoProcessor": "faces.video_processing_dfer",
    "FacePrediction": "prediction",
    "FramePrediction": "prediction",
    "Scores": "prediction",
    "VideoPredictor": "predictor",
}


def systems() -> dict[str, type]:
    """Name to model class of every system: whatever `models/modeling_*.py` holds a `…ForVideoClassification`."""
    found = {}
    for module in pkgutil.iter_modules(models.__path__):
        if module.name.startswith("modeling_"):
            members = vars(importlib.import_module(f"{models.__name__}.{module.name}"))
            for name, member in members.items():
                if name.endswith("ForVideoClassification") and member.__module__.endswith(module.name):
                    found[member.config_class.model_type.removeprefix("dfer_")] = member
    return dict(sorted(found.items()))


def __getattr__(name: str) -> object:
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_IMPORTED_WHEN_USED[name]}", __name__), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


registration.register()
