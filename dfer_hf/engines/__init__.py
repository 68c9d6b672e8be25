"""What answers batches of face crops: `torch_engine` and `onnx_engine`, each imported when a predictor wants it."""

from .answers import ClipAnswers, Engine, ExplainedClip
from .rules import AnswerRules, CropRules

__all__ = ["AnswerRules", "ClipAnswers", "CropRules", "Engine", "ExplainedClip"]
