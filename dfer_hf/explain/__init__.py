"""What an answer rests on: where in the face, when in the clip, for which class.

Targets, leaving out, masks and words are for every engine; what needs a torch model is imported when it is used.
"""

from typing import TYPE_CHECKING

from ..used_names import import_when_used
from .options import MASKS, ExplainOptions, UnknownMethodError
from .targets import ANSWER, Contrast, EmptyContrastError, Target, UnknownTargetError
from .temporal import answer_variants, frame_effects, quarter_runs, rank_correlation, runs

if TYPE_CHECKING:
    from .answering import answer_without, contrast_of, encode_and_answer
    from .gradients import PlaceEvidence, grad_cam, layer_cam
    from .spatial import SPATIAL_METHODS, explain_places, methods_for

__all__ = [
    "ANSWER",
    "MASKS",
    "SPATIAL_METHODS",
    "Contrast",
    "EmptyContrastError",
    "ExplainOptions",
    "PlaceEvidence",
    "Target",
    "UnknownMethodError",
    "UnknownTargetError",
    "answer_variants",
    "answer_without",
    "contrast_of",
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

_OF_TORCH = {
    "SPATIAL_METHODS": "spatial",
    "PlaceEvidence": "gradients",
    "answer_without": "answering",
    "contrast_of": "answering",
    "encode_and_answer": "answering",
    "explain_places": "spatial",
    "grad_cam": "gradients",
    "layer_cam": "gradients",
    "methods_for": "spatial",
}


__getattr__, __dir__ = import_when_used(globals(), _OF_TORCH)
