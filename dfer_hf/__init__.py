"""Dynamic facial expression recognition: published systems as Hugging Face models, from video file to explanation."""

import importlib
import pkgutil

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor

from . import models
from .checkpoints import shipped_checkpoints
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


def _register() -> None:
    for model_class in systems().values():
        config_class = model_class.config_class
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, model_class, exist_ok=True)
        AutoModelForVideoClassification.register(config_class, model_class, exist_ok=True)
        AutoVideoProcessor.register(config_class, DferVideoProcessor, exist_ok=True)


_register()
