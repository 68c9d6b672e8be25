"""What can be wrong with a video file, each by its own name."""


class VideoError(ValueError):
    """A video file cannot be read or written as asked."""


class VideoNotFoundError(VideoError):
    """There is no file at this path, or it cannot be opened."""


class EmptyVideoError(VideoError):
    """The file has no bytes."""


class NotAVideoError(VideoError):
    """The file is neither a video nor a still image of a kind that is read here."""


class AudioOnlyError(VideoError):
    """The file carries sound but no pictures."""


class VideoTooLargeError(VideoError):
    """The file is over one of the limits in `VideoLimits`.

    Attributes:
        limit: The field of `VideoLimits` that would have to be raised.
    """

    def __init__(self, message: str, *, limit: str = "") -> None:
        super().__init__(message)
        self.limit = limit


class CorruptVideoError(VideoError):
    """The file has the signature of a video or image, but no frame of it can be decoded."""


class UnsupportedCodecError(VideoError):
    """The pictures are encoded in a way that has no decoder here; the file itself may be whole."""


class VideoWriteError(VideoError):
    """The video cannot be written."""


class UnsupportedSuffixError(VideoWriteError):
    """The output file is named neither `.webm` nor `.mp4`, the formats written here."""


class VideoWarning(UserWarning):
    """Frames were read, but not all as the file has them: something is damaged, missing or was repaired."""
