"""What an answer rests on."""

from .layercam import layer_cam
from .targets import Contrast, EmptyContrastError, Target, UnknownTargetError

__all__ = ["Contrast", "EmptyContrastError", "Target", "UnknownTargetError", "layer_cam"]
