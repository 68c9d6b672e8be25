"""What an answer rests on: where in the face, when in the clip, for which class."""

from .gradients import PlaceEvidence, UnknownMethodError, grad_cam, layer_cam
from .spatial import DEFAULT_METHOD, SPATIAL_METHODS, ExplainOptions, explain_places, methods_for
from .targets import ANSWER, Contrast, EmptyContrastError, Target, UnknownTargetError
from .temporal import answer_without, encode_and_answer, frame_effects, quarter_runs, rank_correlation, runs

__all__ = [
    "ANSWER",
    "DEFAULT_METHOD",
    "SPATIAL_METHODS",
    "Contrast",
    "EmptyContrastError",
    "ExplainOptions",
    "PlaceEvidence",
    "Target",
    "UnknownMethodError",
    "UnknownTargetError",
    "answer_without",
    "encode_and_answer",
    "explain_places",
    "frame_effects",
    "grad_cam",
    "layer_cam",
    "methods_for",
    "quarter_runs",
    "rank_correlation",
    "runs",
]
