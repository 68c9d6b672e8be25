"""Where in a clip an answer comes from."""

from .gradcam import grad_cam

__all__ = ["grad_cam"]
