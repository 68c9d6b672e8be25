"""What the commands of `dfer` do; `dfer_cli` reads the command line and comes here only when a command runs."""

import argparse
import functools
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForVideoClassification
from transformers.utils import logging

from . import systems
from .checkpoints import DEFAULT_CHECKPOINT, find_checkpoint, load_checkpoint, shipped_checkpoints
from .complexity import Size, measure_preset
from .faces.video_processing_dfer import DferVideoProcessor
from .hub.export import CARD, export_repository
from .models.configuration_dfer import PrintedSize
from .output_files import (
    SCREEN,
    Answer,
    AnswerFile,
    CsvFile,
    JsonFile,
    UsageError,
    answer_names,
    check_outputs,
    overlay_files,
    printable,
)
from .prediction import ClipPrediction, error_row
from .predictor import VideoPredictor
from .video import FrameSpool, VideoLimits, VideoTooLargeError
from .visualize import summarise, write_overlay

OVERLAY_SIDE = 960
LIMIT_OPTIONS = {
    "max_bytes": "--max-megabytes",
    "max_seconds": "--max-seconds",
    "max_width": "--max-side",
    "max_height": "--max-side",
    "max_frames_per_second": "--max-rate",
}
"""Field of `VideoLimits` to the option that sets it."""

# What a file can make its reader and the model raise; torch has no narrower name for most of what it cannot do.
_FILE_ERRORS = (OSError, ValueError, MemoryError, RuntimeError)


def predict(options: argparse.Namespace) -> int:
    """Analyse files, print or write the answers, and return the exit code.

    Raises:
        UsageError: If the model, the device or an output cannot be had.
    """
    num_answered = 0
    try:
        overlays = overlay_files(options.overlay, options.files)
        check_outputs(options.files, [options.json, options.csv, *overlays.values()])
        predictor, say = _load_predictor(options), _reporter(options)
        is_batch = len(options.paths) > 1 or options.paths[0].is_dir()
        outputs: list[AnswerFile] = [JsonFile(options.json, as_list=is_batch)] if options.json else []
        outputs += [CsvFile(options.csv)] if options.csv else []
        bar = _FileBar(len(options.files), is_shown=not options.quiet)
        analyse = functools.partial(predictor, limits=limits_of(options), progress=bar.move)
        # Of a broken pipe: whoever read the answers has had enough of them.
        with suppress(BrokenPipeError), ExitStack() as stack:
            is_main = threading.current_thread() is threading.main_thread()
            # A shell has Ctrl-C ignored by what it runs in the background.
            if is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, bar.interrupt))
            for output in (*outputs, bar):
                stack.enter_context(output)
            for file, name in zip(options.files, answer_names(options.files), strict=True):
                bar.start(name)
                target = overlays.get(file)
                with FrameSpool(max_side=OVERLAY_SIDE) if target else nullcontext() as spool:
                    answer = _answer(analyse, file, name, spool)
                    for output in outputs:
                        output.add(answer)
                    error = answer["error"] if isinstance(answer, dict) else ""
                    if spool is not None and target and isinstance(answer, ClipPrediction):
                        error = _draw(spool, answer, target, sound=file, progress=bar.move)
                say(answer, None if error else target)
                num_answered += not error
                if error:
                    with suppress(OSError):
                        tqdm.write(f"{name}: {error}", file=sys.stderr)
    except OSError as error:
        raise UsageError(f"An output could not be written: {error}. Name another place.") from error
    return 0 if num_answered == len(options.files) else 1


def list_models(options: argparse.Namespace) -> int:
    """Print the systems and the shipped checkpoints, or the sizes of the systems, and return the exit code.

    Raises:
        UsageError: If the size of an unknown system or preset is asked for, or a shipped checkpoint is broken.
    """
    if options.measure is not None:
        return _print_sizes(options.measure)
    known = {model_class.config_class.model_type: name for name, model_class in systems().items()}
    print("Systems")
    print(_columns([(name, _first_line(model_class.__doc__)) for name, model_class in systems().items()]))
    rows = [("name", "system", "parameters", "size", "description")]
    for name, folder in shipped_checkpoints().items():
        try:
            config = AutoConfig.from_pretrained(folder)
            with torch.device("meta"):
                model = AutoModelForVideoClassification.from_config(config)
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(f"The checkpoint {name!r} cannot be read: {_sentence(error)}") from error
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        size_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        sizes = (f"{num_parameters / 1e6:.1f} M", f"{size_bytes / 1e6:.1f} MB")
        rows.append((name, known[config.model_type], *sizes, _describe(folder, model)))
    print("\nCheckpoints that come with the package")
    print(_columns(rows) if len(rows) > 1 else "  none")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a Hub repository's folder, print what it holds, and return the exit code.

    Raises:
        UsageError: If there is no such model, or the folder cannot be written.
    """
    logging.disable_progress_bar()
    system, _, preset = options.source.partition(":")
    is_fresh = system in systems()
    try:
        if is_fresh:
            model_class = systems()[system]
            model = model_class(model_class.config_class.from_preset(preset or "paper"))
            side = model.config.image_size
            processor = DferVideoProcessor(
                size={"height": side, "width": side},
                num_frames=model.config.num_frames,
                every_frame=model_class.reads_every_frame,  # pyright: ignore[reportCallIssue]  its own field
            )
            card = None
        else:
            loaded = load_checkpoint(options.source, revision=options.revision, token=options.token)
            model, processor = loaded.model, loaded.processor
            card = Path(find_checkpoint(options.source)) / CARD
            card = card if card.is_file() else None
        files = export_repository(model, processor, options.folder, card=card)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"{options.source!r} cannot be exported: {_sentence(error)}") from error
    size_bytes = sum(file.stat().st_size for file in files)
    print(f"{options.folder}: {len(files)} files, {size_bytes / 1e6:.1f} MB")
    print(_columns([(file.name,) for file in files]))
    if is_fresh:
        print("note: the weights are random; train them before anyone is to use them")
    if not any(file.name == CARD for file in files):
        print(f"note: there is no card; write a {CARD} before you upload it")
    return 0


COMMANDS = {"predict": predict, "models": list_models, "export": export}


class _FileBar(tqdm):
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


def _load_predictor(options: argparse.Namespace) -> VideoPredictor:
    logging.disable_progress_bar()
    device = None if options.device is None else _available_device(options.device)
    name, revision = options.model or DEFAULT_CHECKPOINT, options.revision
    try:
        return VideoPredictor.from_pretrained(name, device=device, revision=revision, token=options.token)
    # A device without room raises RuntimeError.
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise UsageError(f"The model {name!r} cannot be loaded: {_sentence(error)}") from error


def limits_of(options: argparse.Namespace) -> VideoLimits:
    """What files the options refuse."""
    max_bytes = None if options.max_megabytes is None else round(options.max_megabytes * 1e6)
    side, rate = options.max_side, options.max_rate
    return VideoLimits(max_bytes, options.max_seconds, side, side, rate)


def _available_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"Expected a device such as cpu, cuda or mps, got {name!r}.") from error
    num_devices = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= num_devices.get(device.type, 0):
        raise UsageError(f"Expected a device of this machine, but it has no {name!r}. Leave --device out.")
    return device


def _answer(analyse: Callable[..., ClipPrediction], file: Path, name: str, spool: FrameSpool | None) -> Answer:
    """Analyse a file; with heat maps, and frames put into the spool, where they are to be drawn."""
    try:
        if spool is None:
            return analyse(file, name=name)
        return analyse(file, name=name, explain=True, on_frame=spool.add)
    except _FILE_ERRORS as error:
        return error_row(name, _reason(error))


def _reason(error: BaseException) -> str:
    """Why a file has no answer, and the option that would let it pass."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "There is not enough memory for this file. Shorten or shrink it."
    if isinstance(error, VideoTooLargeError) and error.limit in LIMIT_OPTIONS:
        return _sentence(error).replace(error.limit, LIMIT_OPTIONS[error.limit])
    return _sentence(error)


def _draw(spool: FrameSpool, prediction: ClipPrediction, target: Path, **options: Any) -> str:
    """Write the overlay; an error message, or nothing."""
    try:
        write_overlay(spool, prediction, target, **options)
    except _FILE_ERRORS as error:
        return f"the overlay could not be written: {_reason(error)}"
    return ""


def _sentence(error: BaseException) -> str:
    """What an error says, on one line; its name where it says nothing."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def _reporter(options: argparse.Namespace) -> Callable[[Answer, Path | None], None]:
    """What to print of each answer: a table, or a line where the answer is also written to a file."""
    is_silent = options.quiet or SCREEN in (options.json, options.csv)
    as_line = any((options.json, options.csv, options.overlay))

    def say(answer: Answer, overlay: Path | None) -> None:
        nonlocal is_silent
        if is_silent or isinstance(answer, dict):
            return
        try:
            tqdm.write(_line(answer, overlay) if as_line else _table(answer), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            if not as_line:
                raise
            # The answers still go into the files.
            is_silent = True

    return say


def _line(prediction: ClipPrediction, overlay: Path | None) -> str:
    face = prediction.faces[0]
    others = f"; {len(prediction.faces)} faces, this one seen longest" if len(prediction.faces) > 1 else ""
    drawn = f" -> {printable(str(overlay))}" if overlay else ""
    coarse = f"({face.coarse.label} {face.coarse.confidence:.0%})"
    found = f"{face.answer} {face.fine.confidence:.0%} {coarse} in {prediction.duration_seconds:.1f} s"
    notes = (f"  Careful: {printable(warning)}" for warning in prediction.warnings)
    return "\n".join([f"{prediction.source}: {found}{others}{drawn}", *notes])


def _table(prediction: ClipPrediction) -> str:
    rows = [("face", "expression", "", "group", "", "seconds", "seen")]
    for face in prediction.faces:
        fine, coarse = f"{face.fine.confidence:.0%}", f"{face.coarse.confidence:.0%}"
        seconds = f"{face.frames[0].time_seconds:.1f}-{face.frames[-1].time_seconds:.1f}"
        scores = (face.answer, fine, face.coarse.label, coarse)
        rows.append((str(face.track_id + 1), *scores, seconds, f"{face.coverage:.0%}"))
    head = f"{prediction.source}: {prediction.num_frames} frames in {prediction.duration_seconds:.1f} s, "
    notes = (f"  {printable(note)}" for note in summarise(prediction)[1:])
    return "\n".join([f"{head}answered by {prediction.model}", _columns(rows), *notes])


def _print_sizes(names: Sequence[str]) -> int:
    head = ("", "parameters", "printed", "multiply-adds", "printed", "of a frame", "in products", "clip")
    rows: list[tuple[str, ...]] = [head]
    notes = []
    for system, preset in _wanted_presets(names):
        name = f"{system}:{preset}"
        try:
            measured = measure_preset(systems()[system], preset)
        except ImportError as error:  # of a library that only this system needs
            notes.append(textwrap.fill(f"{name}: {error}", 110, subsequent_indent="  "))
            continue
        config, printed = measured.config, measured.printed
        clip = f"{config.num_frames} of {config.image_size}×{config.image_size}"
        rows.append((*_size_cells(name, measured.size, config.num_frames, printed), clip))
        if names:
            for part, size in measured.parts.items():
                rows.append((*_size_cells(f"  {part}", size, config.num_frames), ""))
        if printed is not None:
            notes.append(textwrap.fill(f"{name}: {printed.note}", 110, subsequent_indent="  "))
    legend = (
        "Multiply-adds are those of one clip in convolutions, linear and recurrent layers. Products of batches of "
        "matrices, as in attention, stand apart; norms and the like are not counted. Printed figures are for 16 "
        "frames of 112×112 unless a note says otherwise."
    )
    print("\n".join([_columns(rows), "", textwrap.fill(legend, 110), *notes]))
    return 0


def _wanted_presets(names: Sequence[str]) -> list[tuple[str, str]]:
    """Systems and presets that names stand for: without names all, and never `tiny` unless it is named."""
    wanted = []
    for name in names or systems():
        system, _, preset = name.partition(":")
        presets = systems()[system].config_class.presets if system in systems() else {}
        if not presets or (preset and preset not in presets):
            raise UsageError(f"Unknown system or preset {name!r}: expected one of {', '.join(presets or systems())}.")
        wanted += [(system, preset)] if preset else [(system, key) for key in presets if key != "tiny"]
    return wanted


def _size_cells(name: str, size: Size, num_frames: int, printed: PrintedSize | None = None) -> tuple[str, ...]:
    parameters, multiply_adds = (printed.parameters, printed.multiply_adds) if printed else (None, None)
    return (
        name,
        f"{size.parameters / 1e6:.3f} M",
        "" if parameters is None else f"{parameters:g} M",
        f"{size.layer_multiply_adds / 1e9:.3f} G",
        "" if multiply_adds is None else f"{multiply_adds:g} G",
        f"{size.layer_multiply_adds / num_frames / 1e9:.3f} G",
        f"{size.product_multiply_adds / 1e9:.3f} G",
    )


def _columns(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _describe(folder: Path, model: torch.nn.Module) -> str:
    """The first sentence of the model card below its title, or what the system is."""
    card = folder / "README.md"
    if not card.is_file():
        return _first_line(type(model).__doc__)
    paragraphs = ModelCard.load(card).text.split("\n\n")
    first = next((text.strip() for text in paragraphs if text.strip()[:1].isalpha()), "")
    return " ".join(first.split()).partition(". ")[0] or _first_line(type(model).__doc__)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
