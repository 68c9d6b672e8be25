"""Work through the files of a command one by one: a bar, one error for each bad file, and an exit code."""

import argparse
import hashlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from .checkpoints import DEFAULT_CHECKPOINT
from .output_files import UsageError, answer_names, printable
from .predictor import VideoPredictor
from .video import VideoLimits, VideoTooLargeError

if TYPE_CHECKING:
    import torch

OVERLAY_SIDE = 960
"""Longer side in pixels of frames that are drawn on."""

_CHUNK_BYTES = 1 << 20

LIMIT_OPTIONS = {
    "max_bytes": "--max-megabytes",
    "max_seconds": "--max-seconds",
    "max_width": "--max-side",
    "max_height": "--max-side",
    "max_frames_per_second": "--max-rate",
}
"""Field of `VideoLimits` to the option that sets it."""

FILE_ERRORS = (OSError, ValueError, MemoryError, RuntimeError)
"""What a file can make its reader and the model raise; torch has no narrower name for most of what it cannot do."""

Work = Callable[[Path, str], str]
"""Takes a file and its name in answers; returns why it could not be answered, or nothing."""


class FileBar(tqdm):
    """One bar over all files that also moves within a file; drawn only where a person looks on.

    Where it moves, the first Ctrl-C takes effect, because files can be left whole there; the second does at once.
    """

    def __init__(self, num_files: int, *, is_shown: bool) -> None:
        super().__init__(
            total=num_files,
            disable=not (is_shown and sys.stderr.isatty()),
            bar_format="{desc} {percentage:3.0f} %|{bar}| {elapsed}, {remaining} left",
            file=sys.stderr,
        )
        self.num_started, self.is_interrupted = 0, False

    def start(self, name: str) -> None:
        """Begin the next file."""
        self.num_started += 1
        self.set_description(name, refresh=False)
        self.move(0.0)

    def move(self, share: float) -> None:
        """Show which share of the file is done."""
        if self.is_interrupted:
            raise KeyboardInterrupt
        self.update(self.num_started - 1 + share - self.n)

    def interrupt(self, *unused: object) -> None:
        """Take notice of Ctrl-C."""
        if self.is_interrupted:
            raise KeyboardInterrupt
        self.is_interrupted = True


def work_through(files: Sequence[Path], work: Work, bar: FileBar, outputs: Sequence[AbstractContextManager]) -> int:
    """Work on every file, print the errors, and return the exit code of the command.

    Args:
        files: What to work on.
        work: What to do with each.
        bar: What shows how far it is.
        outputs: What is open meanwhile.
    """
    num_answered = 0
    # Of a broken pipe: whoever read the answers has had enough of them.
    with suppress(BrokenPipeError), ExitStack() as stack:
        is_main = threading.current_thread() is threading.main_thread()
        # A shell has Ctrl-C ignored by what it runs in the background.
        if is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, bar.interrupt))
        for output in (*outputs, bar):
            stack.enter_context(output)
        for file, name in zip(files, answer_names(files), strict=True):
            bar.start(name)
            error = work(file, name)
            num_answered += not error
            if error:
                with suppress(OSError):
                    tqdm.write(f"{name}: {error}", file=sys.stderr)
    return 0 if num_answered == len(files) else 1


@contextmanager
def outputs_are_written() -> Iterator[None]:
    """Say that an output could not be written, where that is what went wrong.

    Raises:
        UsageError: If it could not.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"An output could not be written: {error}. Name another place.") from error


def load_predictor(options: argparse.Namespace, name: str | None) -> VideoPredictor:
    """Load a checkpoint by the options of a command; the default one without a name.

    Raises:
        UsageError: If it or the device cannot be had.
    """
    name, revision = name or DEFAULT_CHECKPOINT, options.revision
    device = options.device
    if options.engine == "torch":
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = None if device is None else available_device(device)
    try:
        return VideoPredictor.from_pretrained(
            name, engine=options.engine, device=device, revision=revision, token=options.token
        )
    # A device without room raises RuntimeError.
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise UsageError(f"The model {name!r} cannot be loaded: {sentence(error)}") from error


def limits_of(options: argparse.Namespace) -> VideoLimits:
    """What files the options refuse."""
    max_bytes = None if options.max_megabytes is None else round(options.max_megabytes * 1e6)
    side, rate = options.max_side, options.max_rate
    return VideoLimits(max_bytes, options.max_seconds, side, side, rate)


def reason(error: BaseException) -> str:
    """Why a file has no answer, and the option that would let it pass."""
    # Torch's own has no other base than RuntimeError, and is not imported where another engine answers.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "There is not enough memory for this file. Shorten or shrink it."
    if isinstance(error, VideoTooLargeError) and error.limit in LIMIT_OPTIONS:
        return sentence(error).replace(error.limit, LIMIT_OPTIONS[error.limit])
    return sentence(error)


def sentence(error: BaseException) -> str:
    """What an error says, on one line; its name where it says nothing."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def hash_content(path: Path) -> str | None:
    """SHA-256 of a file's bytes, in hexadecimal; None of what is no file, which may never end.

    Raises:
        OSError: If it cannot be read.
    """
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def available_device(name: str) -> "torch.device":
    """The device of a name.

    Raises:
        UsageError: If this machine has none such.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"Expected a device such as cpu, cuda or mps, got {name!r}.") from error
    num_devices = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= num_devices.get(device.type, 0):
        raise UsageError(f"Expected a device of this machine, but it has no {name!r}. Leave --device out.")
    return device
