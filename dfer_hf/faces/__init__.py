"""Faces: finding them, following them through a clip, and bringing them to one crop."""

from .detection import Detection, FaceDetector, MtcnnFaceDetector, NoFaceFoundError
from .tracking import TrackedFace, TrackedFrame, track_faces

__all__ = [
    "Detection",
    "FaceDetector",
    "MtcnnFaceDetector",
    "NoFaceFoundError",
    "TrackedFace",
    "TrackedFrame",
    "track_faces",
]
