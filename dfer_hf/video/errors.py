"""What can be wrong with a video file, each by its own name."""


class VideoError(ValueError):
    """A video file cannot be read or written as asked."""


class VideoNotFoundError(VideoError):
    """There is no file at this path."""


class EmptyVideoError(VideoError):
    """The file has no bytes."""


class NotAVideoError(VideoError):
    """The file is neither a video nor a still image of a kind that is read here."""


class AudioOnlyError(VideoError):
    """The file carries sound but no pictures."""


class VideoTooLargeError(VideoError):
    """The file is over one of the limits in `VideoLimits`."""


class CorruptVideoError(VideoError):
    """The file has the signature of a video or image, but no frame of it can be decoded."""


class VideoWriteError(VideoError):
    """The video cannot be written."""


class UnsupportedSuffixError(VideoWriteError):
    """The output file is not named `.webm`, the one format written here."""


class TruncatedVideoWarning(UserWarning):
    """Part of the file could not be decoded; the frames before and after it were."""
