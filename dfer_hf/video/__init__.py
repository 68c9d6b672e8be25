"""Video files: look before decoding, read RGB frames with times, write WebM and MP4, choose frames."""

from .errors import (
    AudioOnlyError,
    CorruptVideoError,
    EmptyVideoError,
    NotAVideoError,
    UnsupportedCodecError,
    UnsupportedSuffixError,
    VideoError,
    VideoNotFoundError,
    VideoTooLargeError,
    VideoWarning,
    VideoWriteError,
)
from .probe import DEFAULT_LIMITS, VideoInfo, VideoLimits, probe
from .reader import Frame, read_frames
from .sampling import Sampling, uniform_indices
from .spool import FrameSpool
from .writer import VideoWriter, write_video

__all__ = [
    "DEFAULT_LIMITS",
    "AudioOnlyError",
    "CorruptVideoError",
    "EmptyVideoError",
    "Frame",
    "FrameSpool",
    "NotAVideoError",
    "Sampling",
    "UnsupportedCodecError",
    "UnsupportedSuffixError",
    "VideoError",
    "VideoInfo",
    "VideoLimits",
    "VideoNotFoundError",
    "VideoTooLargeError",
    "VideoWarning",
    "VideoWriteError",
    "VideoWriter",
    "probe",
    "read_frames",
    "uniform_indices",
    "write_video",
]
