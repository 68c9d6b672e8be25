"""Dynamic facial expression recognition: published systems as Hugging Face models, from video file to explanation."""

from typing import TYPE_CHECKING

from . import registration
from .checkpoints import shipped_checkpoints
from .used_names import import_when_used

if TYPE_CHECKING:
    from .faces.video_processing_dfer import DferVideoProcessor
    from .prediction import ClipPrediction, FacePrediction, FramePrediction, Scores
    from .predictor import VideoPredictor

__version__ = "0.2.0"

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
    """Name to model class of every system, all of them imported."""
    return {
        system: registration.imported(registration.stand_in(system, config_class))
        for system, config_class in registration.system_configs().items()
    }


__getattr__, __dir__ = import_when_used(globals(), _IMPORTED_WHEN_USED)

registration.register()
