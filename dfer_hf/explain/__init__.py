"""Where in a clip an answer comes from."""

from .layercam import layer_cam

__all__ = ["layer_cam"]
